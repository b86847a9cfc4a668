"""Segmentations (PS3.3, A.51) as coloured layers over the images that they were made of."""

import io
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
import pydicom
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels

from accounts.access import visible_instances
from accounts.audit_events import about_instance, record_access_once
from analysis.models import AnalysisJob
from analysis.rendering import MAX_FRAME_BYTES
from archive.encryption import ObjectIntegrityError
from archive.models import Instance, Series
from archive.object_store import object_key, open_object
from portal.geometry import read_geometry, read_plane
from portal.selectors import build_stack, get_instance, get_series
from portal.studies import parse_number
from query.errors import NotAcceptableError, NotFoundError
from query.pixels import PixelReader

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # SOP classes; the second: label maps
MAX_SEGMENTATIONS = 20  # of a study
MAX_FRAMES = 20_000  # of a segmentation; of a larger one, reading the header takes too long
MAX_CHOSEN = 200  # segments in a layer
MAX_LABELS = 256 << 20  # pixels of a label map that are read for its legend
COLOURS = ("e69f00", "56b4e9", "1fbf8f", "f0e442", "cc79a7", "e8663c", "8f9bff", "9acd32")  # on black and on grey
TOLERANCE = 0.01  # mm between the positions of an image and of its segments


@dataclass
class Segment:
    """A segment of a segmentation, and the positions in a series that it covers.

    Attributes:
        key: the segmentation's ID and the segment's number.
        label: its name.
        colour: red, green and blue in hexadecimal.
        source: the description of the segmentation's series.
        ranges: first and last position, from 0, of each run of images with it.

    """

    key: str
    label: str
    colour: str
    source: str
    ranges: list[list[int]]

    @property
    def first(self) -> int:
        """Return the first position, from 1."""
        return self.ranges[0][0] + 1

    @property
    def last(self) -> int:
        """Return the last position, from 1."""
        return self.ranges[-1][1] + 1

    @property
    def middle(self) -> int:
        """Return a position, from 0, in the middle of the longest run."""
        first, last = max(self.ranges, key=lambda run: run[1] - run[0])
        return (first + last) // 2


@dataclass
class Contents:
    """The contents of a segmentation, without pixels.

    Attributes:
        size: rows and columns.
        maximum: the value of full coverage; 0 for a binary segmentation.
        labels: whether it is a label map: the value of a pixel is the number of its segment.
        segments: the label and the recommended colour, or "", of each segment number.
        frames: segment numbers with their frames, from 0, of each image UID and frame of the image, from 0.
        planes: position and orientation of each frame, in mm; empty where it states none.

    """

    size: tuple[int, int]
    maximum: int
    labels: bool
    segments: dict[int, tuple[str, str]]
    frames: dict[tuple[str, int], list[tuple[int, int]]] = field(default_factory=dict)
    planes: list[list[float]] = field(default_factory=list)


@require_GET
@login_required
def show_legend(request: HttpRequest, series_id: int) -> HttpResponse:
    """Show the segments that refer to the images of a series; the viewer loads it after the first image."""
    series = get_series(request, series_id)
    return render(request, "portal/legend.html", {"segments": find_segments(request.user, series)})


def find_segments(user: Any, series: Series) -> list[Segment]:
    """Return the segments of the study's segmentations that refer to images of a series, the latest first.

    Segmentations on another grid than the images are left out.
    """
    stack = build_stack(user, series)
    places = {(place.uid, place.frame): position for position, place in enumerate(stack)}
    found: list[Segment] = []
    for one in list_segmentations(user).filter(series__study=series.study).order_by("-pk")[:MAX_SEGMENTATIONS]:
        contents = read_contents(one.sha256)
        if contents is None:
            continue
        covered: dict[int, list[int]] = {}
        for place, parts in contents.frames.items():
            position = places.get(place)
            if position is not None and stack[position].size == contents.size:
                for number, _ in parts:
                    covered.setdefault(number, []).append(position)
        for number in sorted(covered):
            label, colour = contents.segments.get(number, (str(number), ""))
            colour = colour or COLOURS[len(found) % len(COLOURS)]
            source = one.series.series_description
            found.append(Segment(f"{one.pk}.{number}", label, colour, source, join_ranges(covered[number])))
    return found


def list_segmentations(user: Any) -> QuerySet[Instance]:
    """Return the visible segmentations that are processed."""
    visible = visible_instances(user).select_related("series__study")
    done = visible.filter(sop_class_uid__in=SEGMENTATIONS, job__state=AnalysisJob.State.DONE)
    return done.exclude(number_of_frames__gt=MAX_FRAMES)


def find_segmented(user: Any, series: Series) -> tuple[Series, list[Segment], list[Segment]] | None:
    """Find the series that a series of segmentations refers to.

    Returns:
        the series with the most referenced images, its segments of these segmentations, and its others; None if the
        series has other objects than segmentations, or none of their images can be shown here.

    """
    own = visible_instances(user).filter(series=series)
    made = set(list_segmentations(user).filter(series=series).values_list("pk", "sha256")[:MAX_SEGMENTATIONS])
    if not made or own.exclude(sop_class_uid__in=SEGMENTATIONS).exists():
        return None
    uids = {uid for _, sha256 in made for uid, _ in getattr(read_contents(sha256), "frames", ())}
    images = visible_instances(user).filter(series__study=series.study_id, sop_instance_uid__in=uids)
    counted = images.order_by().values_list("series").annotate(count=Count("pk")).order_by("-count", "series")
    for series_id, _ in counted:
        source = Series.objects.select_related("study").get(pk=series_id)
        found = find_segments(user, source)
        keys = tuple(f"{pk}." for pk, _ in made)
        if mine := [one for one in found if one.key.startswith(keys)]:
            return source, mine, [one for one in found if one not in mine]
    return None


def join_ranges(positions: Iterable[int]) -> list[list[int]]:
    """Join positions to runs, each with its first and last position."""
    runs: list[list[int]] = []
    for position in sorted(set(positions)):
        if runs and runs[-1][1] == position - 1:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    return runs


@lru_cache(maxsize=32)
def read_contents(sha256: str) -> Contents | None:
    """Read the contents of a segmentation; None if it is malformed. A content never changes, so it is cached."""
    with warnings.catch_warnings(), open_object(object_key(sha256)) as file:
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(file, force=True, stop_before_pixels=True)
            return parse_contents(header, list_numbers(header, file))
        except (ObjectIntegrityError, OSError):
            raise
        except Exception:  # noqa: BLE001  # pydicom raises all kinds of errors on malformed elements
            return None


def list_numbers(header: Dataset, file: BinaryIO) -> list[list[int]]:
    """Return the numbers of the segments in each frame; in a label map the values of its pixels, but the background."""
    if header.SegmentationType != "LABELMAP":
        shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        groups = header.PerFrameFunctionalGroupsSequence
        named = [one.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence for one in groups]
        return [[int(item.ReferencedSegmentNumber) for item in items] for items in named]
    background = int(header.get("PixelPaddingValue") or 0)
    count = len(header.PerFrameFunctionalGroupsSequence)
    if header.Rows * header.Columns * count > MAX_LABELS:
        return [
            [int(item.SegmentNumber) for item in header.SegmentSequence if item.SegmentNumber != background]
        ] * count
    file.seek(0)
    counts = (np.bincount(frame.ravel()) for frame in iter_pixels(file, raw=True))
    return [[number for number in np.flatnonzero(one).tolist() if number != background] for one in counts]


def parse_contents(header: Dataset, numbers: list[list[int]]) -> Contents:
    """Parse the functional groups of a segmentation (PS3.3, C.8.20.2), with the segments in each frame."""
    kind = header.SegmentationType
    segments = {
        int(item.SegmentNumber): (str(item.get("SegmentLabel") or item.SegmentNumber), parse_colour(item))
        for item in header.SegmentSequence
    }
    maximum = int(header.get("MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 0
    contents = Contents((int(header.Rows), int(header.Columns)), maximum, kind == "LABELMAP", segments)
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    groups = zip(header.PerFrameFunctionalGroupsSequence, numbers, strict=True)
    for index, (group, here) in enumerate(groups):
        contents.planes.append(read_plane(group, shared))
        for source in iter_sources(group, shared):
            frames = source.get("ReferencedFrameNumber") or 1
            for frame in [frames] if isinstance(frames, int) else frames:
                place = (str(source.ReferencedSOPInstanceUID), int(frame) - 1)
                contents.frames.setdefault(place, []).extend((number, index) for number in here)
    return contents


def iter_sources(group: Dataset, shared: Dataset) -> Iterator[Dataset]:
    """Iterate over the images that a frame was made of, pixel by pixel."""
    for derivation in group.get("DerivationImageSequence") or shared.get("DerivationImageSequence") or []:
        for source in derivation.get("SourceImageSequence") or []:
            if source.get("SpatialLocationsPreserved", "YES") == "YES":
                yield source


def parse_colour(segment: Dataset) -> str:
    """Return the recommended colour of a segment in hexadecimal (PS3.3, C.10.7.1.1), or an empty string."""
    if not segment.get("RecommendedDisplayCIELabValue"):
        return ""
    from highdicom.color import CIELabColor  # takes a second to import

    red, green, blue = CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb()
    return f"{red:02x}{green:02x}{blue:02x}"


@require_GET
@login_required
def show_segments(request: HttpRequest, instance_id: int) -> HttpResponse:
    """Draw segments of a frame, counted from 0, as PNG, transparent elsewhere.

    The address names each segment by its segmentation, its number and a colour: `segments=12.1.e69f00,12.2.56b4e9`.
    """
    image = get_instance(request, instance_id)
    chosen = parse_segments(request.GET.get("segments", ""))
    found = list_segmentations(request.user).filter(series__study=image.series.study, pk__in=chosen)
    rows, columns = image.rows or 0, image.columns or 0
    if not 0 < rows * columns <= MAX_FRAME_BYTES // 4:
        raise Http404("there are no pixels, or too many")
    layer = np.zeros((rows, columns, 4), np.uint8)
    for one in found.order_by("-pk"):
        record_access_once(request, "viewed", subject=about_instance(one))
        try:
            draw_segments(layer, one, chosen[one.pk], image, parse_number(request, "frame") or 0)
        except (NotAcceptableError, NotFoundError) as error:
            raise Http404(str(error)) from None
    target = io.BytesIO()
    Image.fromarray(layer).save(target, "PNG", compress_level=1)
    return HttpResponse(target.getvalue(), content_type="image/png")


def parse_segments(text: str) -> dict[int, dict[int, bytes]]:
    """Parse the segments of an address: the colour of each segment number of each segmentation's ID."""
    chosen: dict[int, dict[int, bytes]] = {}
    try:
        for part in text.split(",")[:MAX_CHOSEN] if text else []:
            instance, number, colour = part.split(".")
            if not (len(instance) < 19 and len(colour) == 6):
                raise ValueError
            chosen.setdefault(int(instance), {})[int(number)] = bytes.fromhex(colour)
    except ValueError:
        raise BadRequest("segments must be ID.NUMBER.COLOUR, separated by commas") from None
    return chosen


def draw_segments(
    layer: NDArray[np.uint8], one: Instance, colours: dict[int, bytes], image: Instance, frame: int
) -> None:
    """Draw the chosen segments of a segmentation on a layer.

    Raises:
        NotAcceptableError: it cannot be decoded, or is not on the grid of the image.

    """
    contents = read_contents(one.sha256)
    parts = contents.frames.get((image.sop_instance_uid, frame), []) if contents else []
    parts = [(number, index) for number, index in parts if number in colours]
    if contents is None or not parts:
        return
    if contents.size != layer.shape[:2] or not all(fits(contents.planes[index], image, frame) for _, index in parts):
        raise NotAcceptableError("the segmentation is not on the grid of the image")
    with open_object(object_key(one.sha256)) as file:
        frames = {
            index: decode_mask(PixelReader(file, one), index, contents) for index in {index for _, index in parts}
        }
    for number, index in parts:
        covered = frames[index] == number if contents.labels else frames[index]
        layer[covered > 0, :3] = np.frombuffer(colours[number], np.uint8)
        strength = covered / contents.maximum if contents.maximum else covered
        layer[..., 3] = np.maximum(layer[..., 3], np.clip(strength, 0, 1) * 255)


def decode_mask(reader: PixelReader, index: int, contents: Contents) -> NDArray[Any]:
    """Return the pixels of a frame of a segmentation."""
    rows, columns = contents.size
    content = reader.decoded(index)
    wide = contents.labels and len(content) >= 2 * rows * columns  # 16 bits
    values = np.frombuffer(content, "<u2" if wide else np.uint8)
    if not (contents.maximum or contents.labels):
        values = np.unpackbits(values, bitorder="little")
    if len(values) < rows * columns:
        raise NotAcceptableError("the segmentation is truncated")
    return values[: rows * columns].reshape(rows, columns)


def fits(plane: list[float], image: Instance, frame: int) -> bool:
    """Return whether a plane is that of an image's frame; a plane that one of them does not state fits."""
    own = read_geometry(image.sha256).plane(frame)
    return not (plane and own) or bool(np.allclose(plane, own, atol=TOLERANCE))
