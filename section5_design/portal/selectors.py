"""Read studies, series and images as far as a person may see them."""

from typing import Any, NamedTuple

from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from accounts.access import visible_instances, visible_studies
from analysis.models import AnalysisJob
from archive.models import Instance, Series, Study


class Place(NamedTuple):
    """A position in the viewer's stack: a frame of an image.

    Attributes:
        pk: the image's ID.
        uid: its SOP Instance UID.
        sha256: the hash of its content.
        size: its rows and columns.
        frame: the frame, from 0.
        image: the number of the image in the series, from 1.
        frames: how many frames the image has.

    """

    pk: int
    uid: str
    sha256: str
    size: tuple[int, int]
    frame: int
    image: int
    frames: int


def get_study(request: HttpRequest, study_id: int) -> Study:
    """Return a visible study, or answer 404."""
    return get_object_or_404(visible_studies(request.user), pk=min(study_id, 2**62))


def get_series(request: HttpRequest, series_id: int) -> Series:
    """Return a series of which an image is visible, or answer 404."""
    series = get_object_or_404(Series.objects.select_related("study"), pk=min(series_id, 2**62))
    get_object_or_404(images_of(request.user, series).values("pk")[:1])
    return series


def get_instance(request: HttpRequest, instance_id: int) -> Instance:
    """Return a visible image, or answer 404."""
    visible = visible_instances(request.user).select_related("series__study", "job")
    return get_object_or_404(visible, pk=min(instance_id, 2**62))


def images_of(user: Any, series: Series | list[Series]) -> QuerySet[Instance]:
    """Return the visible images of a series, or of several, in the order of InstanceNumber."""
    chosen = {"series": series} if isinstance(series, Series) else {"series__in": series}
    visible = visible_instances(user).filter(**chosen)
    return visible.order_by("series", F("instance_number").asc(nulls_last=True), "pk")


def build_stack(user: Any, series: Series) -> list[Place]:
    """Return the frames of the processed images of a series, in the order of InstanceNumber."""
    ready = images_of(user, series).filter(rows__isnull=False, job__state=AnalysisJob.State.DONE)
    stack: list[Place] = []
    columns = ("pk", "sop_instance_uid", "sha256", "rows", "columns", "number_of_frames")
    for image, (pk, uid, sha256, rows, width, frames) in enumerate(ready.values_list(*columns), 1):
        count = max(1, frames or 1)
        stack += [Place(pk, uid, sha256, (rows, width), frame, image, count) for frame in range(count)]
    return stack
