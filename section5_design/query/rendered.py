"""Rendered images and thumbnails (PS3.18, 10.4.1.1.3 and .4) as JPEG, PNG or GIF."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps

from accounts.audit_events import about_study, record_access_once
from accounts.readers import Reader
from analysis.default import PREVIEW
from analysis.models import Result
from analysis.rendering import RenderingError, render_image
from analysis.windowing import Window
from archive.models import Instance
from archive.object_store import object_key, open_object
from query.errors import InvalidRequestError, NotAcceptableError, NotFoundError
from query.instances import find_instances
from query.media_types import accepted
from query.multipart import Part, respond
from query.service import build_warning, dicomweb, list_names
from query.wado import is_single, parse_frames

JPEG, PNG, GIF = FORMATS = ("image/jpeg", "image/png", "image/gif")  # the preferred first
PARAMETERS = {"accept", "annotation", "iccprofile", "quality", "viewport", "window"}
FUNCTIONS = ("linear", "linear-exact", "sigmoid")
MAX_SIDE = 8192  # pixels of a viewport
DEFAULT_QUALITY, THUMBNAIL_SIDE = 90, 128
COMPLETE = (0.0, 0.0, None, None)  # the region of a complete image


@dataclass(frozen=True)
class Style:
    """How a frame is rendered (PS3.18, 8.3.5).

    Attributes:
        media_type: JPEG, PNG or GIF.
        window: None for the default of the file.
        size: width and height that the picture must fit, None for its own.
        region: x, y, width and height of the part that is shown; a negative size mirrors it; None: all to the end.
        quality: of JPEG, 1 to 100.
        annotations: what is written into the picture: patient, technique.
        icc_profile: whether the picture carries the profile of its colours, sRGB.

    """

    media_type: str
    window: Window | None
    size: tuple[int, int] | None
    region: tuple[float, float, float | None, float | None]
    quality: int
    annotations: frozenset[str] = frozenset()
    icc_profile: bool = False


@dicomweb
def rendered(request: HttpRequest, reader: Reader, numbers: str = "", **path: str) -> HttpResponseBase:
    """Render frames of an instance, or every image of a study or a series."""
    style = parse_style(request)
    found = find_instances(reader, path)
    images = [one for one in found if one.decoded_size]
    if not images:
        raise NotAcceptableError("there is nothing to render: no pixels")
    types = accepted(request)
    if numbers:
        shown = [(images[0], number - 1) for number in parse_frames(numbers)]
        if max(number for _, number in shown) >= (images[0].number_of_frames or 1):
            raise NotFoundError("there is no such frame")
    elif "instance" in path and not types[0].multipart:
        shown = [(images[0], 0)]  # of a multi-frame image, the first represents it
    else:
        shown = [(one, number) for one in images for number in range(one.number_of_frames or 1)]
    single = len(shown) == 1 and (is_single(types, style.media_type, 1) or types[0].name == "*/*")
    if not single and not any(one.multipart or one.name == "*/*" for one in types):
        raise NotAcceptableError("several images are sent as multipart/related")
    record_access_once(request, "viewed", subject=about_study(found[0].series.study), actor=reader.name)
    parts = [Part(style.media_type, partial(draw, one, number, style)) for one, number in shown]
    return warn(respond(str(request.method), parts, multipart=not single), request)


@dicomweb
def thumbnail(request: HttpRequest, reader: Reader, numbers: str = "", **path: str) -> HttpResponseBase:
    """Render one small image that represents a study, a series, an instance or a frame."""
    style = parse_style(request, THUMBNAIL_SIDE)
    found = find_instances(reader, path)
    images = [one for one in found if one.decoded_size]
    if not images:
        raise NotAcceptableError("there is nothing to render: no pixels")
    one = images[len(images) // 2]
    count = one.number_of_frames or 1
    number = parse_frames(numbers)[0] - 1 if numbers else count // 2
    if number >= count:
        raise NotFoundError("there is no such frame")
    record_access_once(request, "viewed", subject=about_study(found[0].series.study), actor=reader.name)
    part = Part(style.media_type, partial(draw_thumbnail, one, number, style))
    return warn(respond(str(request.method), [part], multipart=False), request)


def warn(response: HttpResponseBase, request: HttpRequest) -> HttpResponseBase:
    """Name the parameters and annotations in the request that are not supported (PS3.18, 8.3 and 8.3.5.1.1)."""
    unknown = {
        "query parameters": [name for name in request.GET if name not in PARAMETERS],
        "annotation values": [name for name in split_annotations(request) if name not in ANNOTATIONS],
    }
    texts = [f"The following {kind} are not supported: {list_names(names)}" for kind, names in unknown.items() if names]
    if texts:
        response.headers["Warning"] = ", ".join(map(build_warning, texts))
    return response


def draw_thumbnail(one: Instance, number: int, style: Style) -> Iterator[bytes]:
    """Render a frame as a thumbnail; scale the preview of the analysis if it shows the same.

    Raises:
        NotAcceptableError: it cannot be decoded, or is too large.

    """
    preview = ""
    is_plain = style.window is None and style.region == COMPLETE and not style.annotations
    if is_plain and number == (one.number_of_frames or 1) // 2:
        preview = Result.objects.filter(instance=one).values_list("preview", flat=True).first() or ""
    if not preview or max(style.size or (PREVIEW + 1,)) > PREVIEW:
        yield from draw(one, number, style)
        return
    with open_object(preview) as file:
        yield encode(fit(Image.open(io.BytesIO(file.read())), style), style)


def draw(one: Instance, number: int, style: Style) -> Iterator[bytes]:
    """Render a frame, counted from 0.

    Raises:
        NotAcceptableError: it cannot be decoded, or is too large.

    """
    try:
        with open_object(object_key(one.sha256)) as file:
            picture = fit(render_image(file, number, style.window), style)
    except RenderingError as error:
        raise NotAcceptableError(f"the image {error}") from None
    lines = [line for name in ANNOTATIONS if name in style.annotations for line in ANNOTATIONS[name](one, number)]
    if lines:
        annotate(picture, lines)
    yield encode(picture, style)


def encode(picture: Image.Image, style: Style) -> bytes:
    """Encode a picture as JPEG or PNG."""
    options: dict[str, Any] = {"quality": style.quality} if style.media_type == JPEG else {}
    options |= {"compress_level": 1} if style.media_type == PNG else {}
    if style.icc_profile:
        picture = picture.convert("RGB")
        options["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    target = io.BytesIO()
    picture.save(target, style.media_type.removeprefix("image/"), **options)
    return target.getvalue()


def patient_lines(one: Instance, number: int) -> list[str]:  # noqa: ARG001
    """Return who is shown."""
    study = one.series.study
    return [study.patient_name.partition("=")[0].replace("^", " "), study.patient_id, study.patient_birth_date]


def technique_lines(one: Instance, number: int) -> list[str]:
    """Return what is shown."""
    series = one.series
    image = f"image {one.instance_number or '?'}, frame {number + 1}"
    return [f"{series.modality} {series.study.study_date}", series.series_description, image]


ANNOTATIONS: dict[str, Callable[[Instance, int], list[str]]] = {
    "patient": patient_lines,
    "technique": technique_lines,
}


def annotate(picture: Image.Image, lines: list[str]) -> None:
    """Write lines into the upper left corner of a picture, white with a black outline."""
    size = max(10, picture.height // 32)
    text = "\n".join(line.encode("latin-1", "replace").decode("latin-1") for line in lines if line)
    white, black = ("white", "black") if picture.mode != "L" else (255, 0)
    drawing, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    drawing.multiline_text((size / 2, size / 2), text, white, font, stroke_width=max(1, size // 10), stroke_fill=black)


def fit(picture: Image.Image, style: Style) -> Image.Image:
    """Cut out the region, mirror it, and scale it to the viewport with its aspect ratio kept."""
    left, top, width, height = style.region
    width, height = width or picture.width - left, height or picture.height - top
    box = [round(edge) for edge in (left, top, left + abs(width), top + abs(height))]
    box = [min(max(edge, 0), limit) for edge, limit in zip(box, picture.size * 2, strict=True)]
    if box[2] <= box[0] or box[3] <= box[1]:
        raise InvalidRequestError("viewport: the region is outside of the image")
    if box != [0, 0, *picture.size]:
        picture = picture.crop((box[0], box[1], box[2], box[3]))
    if width < 0:
        picture = ImageOps.mirror(picture)
    if height < 0:
        picture = ImageOps.flip(picture)
    if style.size and style.size != picture.size:
        picture = ImageOps.contain(picture, style.size, Image.Resampling.BILINEAR)
    return picture


def parse_style(request: HttpRequest, side: int = 0) -> Style:
    """Parse the query parameters.

    Args:
        request: the request.
        side: of the default viewport, a square; 0 for none.

    Raises:
        InvalidRequestError: a parameter is malformed.
        NotAcceptableError: none of the formats is accepted.

    """
    types = accepted(request)
    media_type = next((name for one in types for name in FORMATS if one.covers(name)), "")
    if not media_type:
        raise NotAcceptableError(f"offered: {', '.join(FORMATS)}")
    size, region = parse_viewport(request.GET.get("viewport", ""))
    (quality,) = parse_numbers("quality", request.GET.get("quality") or str(DEFAULT_QUALITY), 1)
    if quality is None or not 1 <= quality <= 100:
        raise InvalidRequestError("quality: not a number from 1 to 100")
    window = parse_window(request.GET.get("window", ""))
    profile = request.GET.get("iccprofile", "no").lower()
    if profile not in ("no", "yes", "srgb"):
        raise InvalidRequestError("iccprofile: not one of no, yes, srgb")
    if profile != "no" and media_type == GIF:
        raise InvalidRequestError(f"iccprofile: {GIF} has none")
    return Style(
        media_type,
        window,
        size or ((side, side) if side else None),
        region,
        int(quality),
        frozenset(split_annotations(request)),
        profile != "no",
    )


def split_annotations(request: HttpRequest) -> list[str]:
    """Return the values of `annotation`."""
    return [name for name in request.GET.get("annotation", "").split(",") if name]


def parse_window(text: str) -> Window | None:
    """Parse `center,width,function` (PS3.18, 8.3.5.1.4)."""
    if not text:
        return None
    numbers, _, function = text.rpartition(",") if text.count(",") == 2 else (text, "", FUNCTIONS[0])
    values = parse_numbers("window", numbers, 2)
    if len(values) != 2 or None in values or function.lower() not in FUNCTIONS or not 0 < (values[1] or 0) < 1e9:
        raise InvalidRequestError(f"window: not center,width,function; functions: {', '.join(FUNCTIONS)}")
    return Window(values[0] or 0.0, values[1] or 1.0, function.lower())


def parse_viewport(text: str) -> tuple[tuple[int, int] | None, tuple[float, float, float | None, float | None]]:
    """Parse `width,height[,x,y[,width,height]]` (PS3.18, 8.3.5.1.3)."""
    if not text:
        return None, COMPLETE
    values = parse_numbers("viewport", text, 6)
    padded = values + [None] * (6 - len(values))
    width, height, left, top, part_width, part_height = padded
    if len(values) not in (2, 4, 6) or not (1 <= (width or 0) <= MAX_SIDE and 1 <= (height or 0) <= MAX_SIDE):
        raise InvalidRequestError(f"viewport: not width,height[,x,y[,width,height]] of 1 to {MAX_SIDE} pixels")
    return (int(width or 0), int(height or 0)), (left or 0.0, top or 0.0, part_width, part_height)


def parse_numbers(name: str, text: str, most: int) -> list[float | None]:
    """Parse numbers, separated by commas; an empty one is None."""
    try:
        numbers = [float(one) if one else None for one in text.split(",")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= most or any(one is not None and not abs(one) < 1e9 for one in numbers):
        raise InvalidRequestError(f"{name}: not numbers")
    return numbers
