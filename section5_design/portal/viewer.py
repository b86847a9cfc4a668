"""The viewer of a series, alone or beside another; frames and thumbnails."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from accounts.access import visible_instances
from accounts.audit_events import about_instance, about_study, record_access_once
from analysis import rendering
from analysis.models import AnalysisJob, Result
from analysis.windowing import Window
from archive.models import Instance, Series
from archive.object_store import object_key, open_object
from portal.segments import SEGMENTATIONS, Segment, find_segmented, list_segmentations
from portal.selectors import Place, build_stack, get_instance, get_series, get_study, images_of
from portal.studies import parse_number
from query.errors import NotAcceptableError
from query.rendered import COMPLETE, DEFAULT_QUALITY, JPEG, Style, draw_thumbnail

THUMBNAIL = Style(JPEG, window=None, size=(256, 256), region=COMPLETE, quality=DEFAULT_QUALITY)
PRESETS = {
    "CT": [
        (gettext_lazy("Soft tissue"), 40, 400),
        (gettext_lazy("Lung"), -600, 1500),
        (gettext_lazy("Bone"), 480, 2500),
        (gettext_lazy("Brain"), 40, 80),
    ]
}

KEYS = (  # of the help
    (("↑", "↓", "←", "→"), gettext_lazy("previous and next image; the mouse wheel does the same")),
    (("Page ↑", "Page ↓", "Home", "End"), gettext_lazy("ten images, the first, the last")),
    ((gettext_lazy("Space"),), gettext_lazy("play and pause")),
    (("W", "C", "P", "Z"), gettext_lazy("dragging changes the window, scrolls, pans, zooms; two fingers zoom")),
    (("M", "E", "T"), gettext_lazy("dragging measures a length, an ellipse, a rectangle")),
    (("+", "−"), gettext_lazy("zoom; so do Ctrl and the wheel, and dragging with the right button")),
    ((gettext_lazy("Shift + drag"),), gettext_lazy("pan; so does the middle button")),
    (("F", "I", "R"), gettext_lazy("fit, invert, reset window, view and measurements")),
    (("S",), gettext_lazy("hide and show all segments")),
    ((gettext_lazy("Delete"),), gettext_lazy("remove the last measurement")),
)


@dataclass
class Pane:
    """A series in the viewer, at one of its frames."""

    series: Series
    stack: list[Place]
    position: int
    scale: dict[str, Any]

    @property
    def picture(self) -> str:
        """Return the address of the current frame."""
        place = self.stack[self.position]
        return reverse("picture", args=[place.pk]) + f"?frame={place.frame}"

    @property
    def place(self) -> dict[str, int]:
        """Return where the current frame is, counted from 1."""
        place = self.stack[self.position]
        return {
            "image": place.image,
            "images": self.stack[-1].image,
            "frame": place.frame + 1,
            "frames": place.frames,
        }

    @property
    def document(self) -> dict[str, Any]:
        """Return what the script needs: of each position, the image's ID, the frame, the image's number and frames."""
        stack = [(place.pk, place.frame, place.image, place.frames) for place in self.stack]
        return {"stack": stack, "position": self.position, **self.scale}


@require_GET
@login_required
def show_viewer(request: HttpRequest, series_id: int) -> HttpResponse:
    """Show a series frame by frame, beside another if the address names one; the state is in the address."""
    series = get_series(request, series_id)
    record_access_once(request, "viewed", subject=about_study(series.study))
    segmentation = series.modality == "SEG"
    if segmentation and (found := find_segmented(request.user, series)):
        return redirect(address_of_segments(request, *found))
    panes = [build_pane(request, series, "")]
    if other := parse_number(request, "b"):
        panes.append(build_pane(request, get_series(request, other), "b_", panes[0]))
    others = Series.objects.filter(study=series.study).order_by("series_number", "pk")
    seen = visible_instances(request.user).filter(series__in=others, rows__isnull=False)
    window = parse_window(request)
    context = {
        "study": series.study,
        "series": series,
        "panes": [pane for pane in panes if pane.stack],
        "others": others.filter(pk__in=seen.values("series")).exclude(modality="SEG"),
        "alone": segmentation,
        "b": other,
        "window": window,
        "window_query": "&" + urlencode({"center": window.center, "width": window.width}) if window else "",
        "presets": [] if not panes[0].scale["grey"] else build_presets(request, series),
        "overlays": request.GET.get("overlays") != "0",
        "linked": request.GET.get("linked") != "0",
        "keys": KEYS,
        "segmented": list_segmentations(request.user).filter(series__study=series.study).exists(),
    }
    if panes[0].stack:
        context |= panes[0].place | build_links(request, panes[0])
    return render(request, "portal/viewer.html", context)


def address_of_segments(request: HttpRequest, series: Series, chosen: list[Segment], others: list[Segment]) -> str:
    """Return the address that shows the chosen segments over the images of a series, in the middle of the first."""
    place = build_stack(request.user, series)[chosen[0].middle]
    values: dict[str, object] = {"image": place.image}
    if place.frames > 1:
        values["frame"] = place.frame + 1
    if others:
        values["hide"] = ",".join(segment.key for segment in others)
    return f"{reverse('series', args=[series.pk])}?{urlencode(values)}"


def build_pane(request: HttpRequest, series: Series, prefix: str, beside: Pane | None = None) -> Pane:
    """Build a pane at the position in the address, by default where the pane beside it is, or in the middle."""
    stack = build_stack(request.user, series)
    image, frame = parse_number(request, f"{prefix}image"), parse_number(request, f"{prefix}frame") or 1
    start, of = (beside.position, len(beside.stack)) if beside and beside.stack else (1, 2)
    position = start * len(stack) // of
    if image is not None:
        here = [position for position, place in enumerate(stack) if place.image <= max(1, image)]
        position = here[-1] if here else 0
        if here and stack[position].image == image:
            position += min(frame, stack[position].frames) - stack[position].frames
    scale = find_scale(stack[position].pk) if stack else {"grey": False}
    return Pane(series, stack, position, scale)


def find_scale(instance_id: int) -> dict[str, Any]:
    """Return the default window of an image, the range of its values, and whether it is grey."""
    figures = Result.objects.filter(instance=instance_id).values_list("figures", flat=True).first() or {}
    image = Instance.objects.get(pk=instance_id)
    with open_object(object_key(image.sha256)) as file:
        window, low, high, grey = rendering.find_scale(file, figures.get("minimum"), figures.get("maximum"))
    return {"center": window.center, "width": window.width, "low": low, "high": high, "grey": grey}


def build_presets(request: HttpRequest, series: Series) -> list[dict[str, Any]]:
    """Build the presets of a modality, each with its address."""
    presets: list[dict[str, Any]] = [
        {"name": _("Default window"), "center": "", "width": "", "address": address_of(request, center="", width="")}
    ]
    for name, center, width in PRESETS.get(series.modality, []):
        address = address_of(request, center=center, width=width)
        presets.append({"name": name, "center": center, "width": width, "address": address})
    return presets


def build_links(request: HttpRequest, pane: Pane) -> dict[str, str]:
    """Build the addresses of the previous and the next frame."""
    links = {}
    for name, position in (("previous", pane.position - 1), ("next", pane.position + 1)):
        if 0 <= position < len(pane.stack):
            place = pane.stack[position]
            links[name] = address_of(request, image=place.image, frame=place.frame + 1)
    return links


def address_of(request: HttpRequest, **changes: object) -> str:
    """Return the query of the current address with changes; an empty value removes a name."""
    query = request.GET.copy()
    for name, value in changes.items():
        query[name] = str(value)
        if value == "":
            del query[name]
    return f"?{query.urlencode()}"


def parse_window(request: HttpRequest) -> Window | None:
    """Parse the window in the address."""
    try:
        found = Window(float(request.GET["center"]), float(request.GET["width"]))
    except (KeyError, ValueError):
        return None
    if not (abs(found.center) < 1e9 and 0 < found.width < 1e9):
        raise BadRequest("center and width must be numbers, width more than 0")
    return found


@require_GET
@login_required
def picture(request: HttpRequest, instance_id: int) -> HttpResponse:
    """Render a frame, counted from 0, as PNG, through the window in the address."""
    image = get_instance(request, instance_id)
    record_access_once(request, "viewed", subject=about_instance(image))
    if image.job.state != AnalysisJob.State.DONE:
        raise Http404("not processed yet")
    frame, overlays = parse_number(request, "frame") or 0, request.GET.get("overlays") != "0"
    try:
        with open_object(object_key(image.sha256)) as file:
            content = rendering.render(file, frame, parse_window(request), overlays=overlays)
    except rendering.RenderingError as error:
        raise Http404(str(error)) from None
    return HttpResponse(content, content_type="image/png")


@require_GET
@login_required
def show_spacing(request: HttpRequest, instance_id: int) -> JsonResponse:
    """Return the distances between the rows and between the columns of a frame, counted from 0, in mm."""
    image = get_instance(request, instance_id)
    with open_object(object_key(image.sha256)) as file:
        spacing, detector = rendering.find_spacing(file, parse_number(request, "frame") or 0)
    return JsonResponse({"spacing": spacing, "detector": detector})


@require_GET
@login_required
def series_thumbnail(request: HttpRequest, series_id: int) -> HttpResponse:
    """Answer a small picture of a series: its middle image."""
    series = get_series(request, series_id)
    return render_thumbnail(images_of(request.user, series))


@require_GET
@login_required
def study_thumbnail(request: HttpRequest, study_id: int) -> HttpResponse:
    """Answer a small picture of a study: the middle image of its largest series, of images before segmentations."""
    study = get_study(request, study_id)
    visible = visible_instances(request.user).filter(series__study=study, rows__isnull=False)
    made = Q(sop_class_uid__in=SEGMENTATIONS)
    counted = visible.order_by().values_list("series").annotate(count=Count("pk"), images=Count("pk", filter=~made))
    largest = counted.order_by("-images", "-count", "series").first()
    if largest is None:
        raise Http404("no pixels")
    return render_thumbnail(images_of(request.user, [Series(pk=largest[0])]))


def render_thumbnail(images: QuerySet[Instance]) -> HttpResponse:
    """Answer the thumbnail of the middle image, as WADO-RS renders it."""
    ready = images.filter(rows__isnull=False, job__state=AnalysisJob.State.DONE)
    middle = ready[max(0, ready.count() // 2) :].first()
    if middle is None:
        raise Http404("no pixels")
    try:
        content = b"".join(draw_thumbnail(middle, (middle.number_of_frames or 1) // 2, THUMBNAIL))
    except NotAcceptableError as error:
        raise Http404(str(error)) from None
    return HttpResponse(content, content_type=THUMBNAIL.media_type)
