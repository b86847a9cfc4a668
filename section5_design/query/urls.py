"""Addresses of the DICOMweb services, below one base address (PS3.18, 10)."""

from functools import partial

from django.urls import path

from ingest.stow import stow
from query.attributes import IMAGE, SERIES, STUDY
from query.qido import search
from query.service import by_method

STUDIES, ONE_STUDY = "studies", "studies/<str:study>"
ALL_SERIES, ONE_SERIES = f"{ONE_STUDY}/series", f"{ONE_STUDY}/series/<str:series>"
INSTANCES = f"{ONE_SERIES}/instances"


def search_at(level: str) -> partial[object]:
    """Return the search at a level."""
    return partial(search, level=level)


urlpatterns = [
    path(STUDIES, by_method(GET=search_at(STUDY), POST=stow), name="dicomweb-studies"),
    path(ONE_STUDY, by_method(POST=stow)),
    path(ALL_SERIES, by_method(GET=search_at(SERIES))),
    path(INSTANCES, by_method(GET=search_at(IMAGE))),
    path(f"{ONE_STUDY}/instances", by_method(GET=search_at(IMAGE))),
    path("series", by_method(GET=search_at(SERIES))),
    path("instances", by_method(GET=search_at(IMAGE))),
]
