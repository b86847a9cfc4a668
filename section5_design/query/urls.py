"""Addresses of the DICOMweb services, below one base address (PS3.18, 10)."""

from functools import partial

from django.http import HttpResponseBase
from django.urls import path

from ingest.stow import stow
from query.attributes import IMAGE, SERIES, STUDY
from query.capabilities import capabilities
from query.qido import search
from query.rendered import rendered, thumbnail
from query.service import by_method, unknown_resource
from query.wado import all_bulk_data, bulk_data, frames, metadata, pixel_data, retrieve

STUDIES, ONE_STUDY = "studies", "studies/<str:study>"
ALL_SERIES, ONE_SERIES = f"{ONE_STUDY}/series", f"{ONE_STUDY}/series/<str:series>"
INSTANCES, ONE_INSTANCE = f"{ONE_SERIES}/instances", f"{ONE_SERIES}/instances/<str:instance>"


def search_at(level: str) -> partial[HttpResponseBase]:
    """Return the search at a level."""
    return partial(search, level=level)


resources = [
    path(STUDIES, by_method(GET=search_at(STUDY), POST=stow), name="dicomweb-studies"),
    path(ONE_STUDY, by_method(GET=retrieve, POST=stow)),
    path(ONE_SERIES, by_method(GET=retrieve)),
    path(ONE_INSTANCE, by_method(GET=retrieve)),
    *(path(f"{resource}/metadata", by_method(GET=metadata)) for resource in (ONE_STUDY, ONE_SERIES, ONE_INSTANCE)),
    *(
        path(f"{resource}/{view.__name__}", by_method(GET=view))
        for resource in (ONE_STUDY, ONE_SERIES, ONE_INSTANCE, f"{ONE_INSTANCE}/frames/<str:numbers>")
        for view in (rendered, thumbnail)
    ),
    path(f"{ONE_INSTANCE}/frames/<str:numbers>", by_method(GET=frames)),
    path(f"{ONE_INSTANCE}/bulkdata/<path:tags>", by_method(GET=bulk_data)),
    *(
        path(f"{resource}/{name}", by_method(GET=view))
        for resource in (ONE_STUDY, ONE_SERIES, ONE_INSTANCE)
        for name, view in (("bulkdata", all_bulk_data), ("pixeldata", pixel_data))
    ),
    path(ALL_SERIES, by_method(GET=search_at(SERIES))),
    path(INSTANCES, by_method(GET=search_at(IMAGE))),
    path(f"{ONE_STUDY}/instances", by_method(GET=search_at(IMAGE))),
    path("series", by_method(GET=search_at(SERIES))),
    path("instances", by_method(GET=search_at(IMAGE))),
]
describe = partial(capabilities, resources=resources)
urlpatterns = [
    path("", by_method(GET=describe, OPTIONS=describe), name="dicomweb"),
    *resources,
    *(path(f"{one.pattern}/", one.callback) for one in resources),  # clients disagree about a slash at the end
    path("<path:name>", unknown_resource),
]
