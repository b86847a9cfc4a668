"""The pages: studies, a study, an image, a comparison, uploads; and their downloads."""

import csv
import io
from typing import Any

import orjson
from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.contrib.auth.models import Group
from django.core.exceptions import BadRequest
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts.access import AUDIT, OPERATE, ROLES, SUBMIT, get_teams, visible_instances, visible_studies
from accounts.audit_events import (
    about_instance,
    about_study,
    actor_of,
    client_address,
    record_access,
    record_access_once,
)
from accounts.models import Share
from accounts.services import share_study, unshare_study
from analysis import rendering
from analysis.models import AnalysisJob, Result
from analysis.windowing import Window
from archive.models import Instance, Series, Study
from archive.object_store import object_key, open_object
from audit.queries import find_instance_events
from portal.labels import label_for
from portal.plots import bars
from portal.plots import table as plot_table
from portal.zip_stream import zip_stream
from uploads.models import UploadFile
from uploads.quotas import QuotaExceededError, check_quota
from uploads.services import create_upload, receive_files, visible_uploads

PAGE = 50
PROCESSING_KINDS = ("received", "done", "retry", "lost", "quarantined", "requeued")
PRESETS = {"CT": [("Soft tissue", 40, 400), ("Lung", -600, 1500), ("Bone", 480, 2500), ("Brain", 40, 80)]}
FIGURES = (
    *("average_before_normalization", "average_after_normalization", "minimum", "maximum", "standard_deviation"),
    *("data_size", "number_of_frames", "pixel_data"),
)


def count_states(instances: QuerySet[Instance], by: str) -> dict[int, dict[str, int]]:
    """Count instances by state, per study or series."""
    found: dict[int, dict[str, int]] = {}
    for key, state, count in instances.order_by().values_list(by, "job__state").annotate(count=Count("pk")):
        found.setdefault(key, {})[state] = count
    return found


def parse_cursor(request: HttpRequest, name: str) -> int | None:
    """Parse the number at which a page begins."""
    text = request.GET.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadRequest(f"{name} must be a whole number")
    return int(text) if text else None


@require_GET
@login_required
def studies(request: HttpRequest) -> HttpResponse:
    """List the visible studies, the newest first; the filters are in the address."""
    wanted = {name: request.GET.get(name, "").replace("\0", "").strip() for name in FIND}
    visible = visible_instances(request.user)
    found = visible_studies(request.user).order_by("-id")
    for name, text in wanted.items():
        if text:
            found = FIND[name](found, visible, text)
    if any(wanted.values()):  # what was looked for may be a name, so only its kind is kept
        record_access_once(request, "queried", "by " + ", ".join(name for name, text in wanted.items() if text))
    before = parse_cursor(request, "before")
    if before is not None:
        found = found.filter(id__lt=before)
    rows = list(found[: PAGE + 1])
    more, rows = len(rows) > PAGE, rows[:PAGE]
    counts = count_states(visible.filter(series__study__in=rows), "series__study")
    modalities: dict[int, set[str]] = {}
    for study_id, modality in Series.objects.filter(study__in=rows).values_list("study_id", "modality"):
        modalities.setdefault(study_id, set()).add(modality or "?")
    table = [
        {"study": row, "counts": counts.get(row.pk, {}), "modalities": ", ".join(sorted(modalities.get(row.pk, ())))}
        for row in rows
    ]
    query = request.GET.copy()
    if more:
        query["before"] = str(rows[-1].pk)
    return render(
        request,
        "portal/studies.html",
        {"table": table, "wanted": wanted, "states": AnalysisJob.State, "more": query.urlencode() if more else ""},
    )


def _in_study(visible: QuerySet[Instance], **what: Any) -> Exists:
    return Exists(visible.filter(series__study=OuterRef("pk"), **what))


FIND: dict[str, Any] = {
    "patient_id": lambda found, _, text: found.filter(patient_id__icontains=text),
    "name": lambda found, _, text: found.filter(patient_name__icontains=text),
    "date": lambda found, _, text: found.filter(study_date__startswith=text.replace("-", "")),
    "modality": lambda found, visible, text: found.filter(_in_study(visible, series__modality__iexact=text)),
    "state": lambda found, visible, text: found.filter(_in_study(visible, job__state=text)),
    "sender": lambda found, visible, text: found.filter(_in_study(visible, source__icontains=text)),
}


def get_study(request: HttpRequest, study_id: int) -> Study:
    """Return a visible study, or answer 404."""
    return get_object_or_404(visible_studies(request.user), pk=min(study_id, 2**62))


def get_instance(request: HttpRequest, instance_id: int) -> Instance:
    """Return a visible instance, or answer 404."""
    visible = visible_instances(request.user, per_row=True).select_related("series__study", "job")
    return get_object_or_404(visible, pk=min(instance_id, 2**62))


@require_GET
@login_required
def study(request: HttpRequest, study_id: int) -> HttpResponse:
    """Show a study: its series, and its instances with their states."""
    one = get_study(request, study_id)
    record_access_once(request, "viewed", subject=about_study(one))
    visible = visible_instances(request.user).filter(series__study=one)
    by_series = count_states(visible, "series")
    shown = visible_instances(request.user, per_row=True).filter(series__in=list(by_series))
    shown = shown.select_related("job", "series").order_by("id")
    if series := parse_cursor(request, "series"):
        shown = shown.filter(series=series)
    if (state := request.GET.get("state", "")) in AnalysisJob.State.values:
        shown = shown.filter(job__state=state)
    if after := parse_cursor(request, "after"):
        shown = shown.filter(id__gt=after)
    rows = list(shown[: PAGE + 1])
    more, rows = len(rows) > PAGE, rows[:PAGE]
    query = request.GET.copy()
    if more:
        query["after"] = str(rows[-1].pk)
    total: dict[str, int] = {}
    for counts in by_series.values():
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return render(
        request,
        "portal/study.html",
        {
            "study": one,
            "series": [
                (row, by_series.get(row.pk, {})) for row in Series.objects.filter(pk__in=by_series).order_by("id")
            ],
            "rows": [{"instance": row, "label": label_for(row.job)} for row in rows],
            "total": total,
            "more": query.urlencode() if more else "",
            "teams": Group.objects.exclude(name__in=ROLES) if request.user.has_perm(OPERATE) else [],
            "shares": Share.objects.filter(study=one).select_related("group"),
        },
    )


@require_GET
@login_required
def instance(request: HttpRequest, instance_id: int) -> HttpResponse:
    """Show an image: the picture through a window, results, histogram and history."""
    one = get_instance(request, instance_id)
    record_access_once(request, "viewed", subject=about_instance(one))
    view = build_view(request, one)
    return render(request, "portal/instance.html", view | {"view_self": view, "siblings": find_siblings(request, one)})


def find_siblings(request: HttpRequest, one: Instance) -> dict[str, Instance | None]:
    """Return the previous and the next image of the series."""
    series = visible_instances(request.user, per_row=True).filter(series=one.series)
    return {
        "before": series.filter(pk__lt=one.pk).order_by("-pk").first(),
        "behind": series.filter(pk__gt=one.pk).order_by("pk").first(),
    }


def build_view(request: HttpRequest, one: Instance) -> dict[str, Any]:
    """Build the context of an image."""
    result = Result.objects.filter(instance=one).first()
    found = result.figures if result else {}
    histogram, frames = found.get("histogram"), found.get("frames", [])
    plain = {name: value for name, value in found.items() if not isinstance(value, list | dict)}
    figures = {name: plain[name] for name in sorted(plain, key=lambda name: (*FIGURES, name).index(name))}
    shown: dict[str, Any] = {
        "instance": one,
        "study": one.series.study,
        "label": label_for(one.job),
        "result": result,
        "figures": figures,
        "frames": len(frames),
        "events": find_history(request, one),
    }
    if histogram:
        shown["histogram"] = bars(histogram["counts"], _("Histogram of the stored values"))
        shown["limits"] = histogram
        counts, low = histogram["counts"], histogram["from"]
        step = (histogram["to"] - low) / len(counts)
        names = [f"{low + place * step:,.6g}" for place in range(len(counts))]
        shown["histogram_table"] = plot_table(names, counts, (_("From (stored value)"), _("Values")))
    if result and figures.get("pixel_data"):
        with open_object(object_key(one.sha256)) as file:
            window, low, high = rendering.find_scale(file, figures.get("minimum"), figures.get("maximum"))
        presets = [(_("Default window"), window.center, window.width), *PRESETS.get(one.series.modality, [])]
        shown |= {"window": window, "low": low, "high": high, "span": max(window.width, high - low), "presets": presets}
        chosen = parse_window(request) or window
        shown |= {"chosen": chosen, "frame": parse_cursor(request, "frame") or 0}
    return shown


def find_history(request: HttpRequest, one: Instance) -> list[dict[str, Any]]:
    """Return the events about an image: its processing for every reader; who viewed it for auditors only."""
    auditor = request.user.has_perm(AUDIT)
    return [event for event in find_instance_events(one.pk) if auditor or event["kind"] in PROCESSING_KINDS]


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
    """Render a frame as PNG, through the window in the address."""
    one = get_instance(request, instance_id)
    record_access_once(request, "viewed", subject=about_instance(one))
    if one.job.state != AnalysisJob.State.DONE:
        raise Http404("there is no picture yet")
    try:
        with open_object(object_key(one.sha256)) as file:
            content = rendering.render(file, parse_cursor(request, "frame") or 0, parse_window(request))
    except rendering.RenderingError as error:
        raise Http404(str(error)) from None
    return HttpResponse(content, content_type="image/png")


@require_GET
@login_required
def compare(request: HttpRequest) -> HttpResponse:
    """Show two images side by side."""
    numbers = [parse_cursor(request, name) for name in ("a", "b")]
    found = [get_instance(request, number) if number else None for number in numbers]
    for one in filter(None, found):
        record_access_once(request, "viewed", subject=about_instance(one))
    pair = [build_view(request, one) if one else None for one in found]
    return render(request, "portal/compare.html", {"pair": pair, "a": numbers[0], "b": numbers[1]})


@require_GET
@login_required
def download_instance(request: HttpRequest, instance_id: str, kind: str) -> HttpResponseBase:
    """Download an image's result as JSON, CSV or PNG, or the DICOM file itself."""
    one = get_instance(request, int(instance_id))
    record_access(request, "exported", kind, subject=about_instance(one))
    if kind == "dcm":
        name = f"{one.sop_instance_uid}.dcm"
        source = open_object(object_key(one.sha256))
        return FileResponse(source, as_attachment=True, filename=name, content_type="application/dicom")
    result = get_object_or_404(Result, instance=one)
    if kind == "png":
        if not result.preview:
            raise Http404("it has no picture")
        return FileResponse(open_object(result.preview), content_type="image/png")
    row = {"sop_instance_uid": one.sop_instance_uid, **result.figures}
    if kind == "json":
        return HttpResponse(orjson.dumps(row), content_type="application/json")
    return HttpResponse(format_csv([row]), content_type="text/csv; charset=utf-8")


def format_csv(rows: list[dict[str, Any]]) -> str:
    """Format figures as CSV, without histogram and frames."""
    flat = [{name: value for name, value in row.items() if not isinstance(value, list | dict)} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in flat for name in row)))
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


@require_GET
@login_required
def download_study(request: HttpRequest, study_id: str, kind: str) -> HttpResponseBase:
    """Download the results of a study as JSON or CSV, or everything as a streamed ZIP file."""
    one = get_study(request, int(study_id))
    record_access(request, "exported", kind, subject=about_study(one))
    visible = visible_instances(request.user).filter(series__study=one).order_by("pk")
    if kind == "zip":
        headers = {"Content-Disposition": f'attachment; filename="study-{one.pk}.zip"'}
        return StreamingHttpResponse(zip_stream(visible), content_type="application/zip", headers=headers)
    results = Result.objects.filter(instance__in=visible).select_related("instance").order_by("instance_id")
    rows = [{"sop_instance_uid": result.instance.sop_instance_uid, **result.figures} for result in results.iterator()]
    if kind == "json":
        return HttpResponse(orjson.dumps(rows), content_type="application/json")
    return HttpResponse(format_csv(rows), content_type="text/csv; charset=utf-8")


@login_required
def uploads(request: HttpRequest) -> HttpResponse:
    """List uploads, with a form that works without a script."""
    if request.method == "POST":
        return send(request)
    rows = list(visible_uploads(request.user).select_related("user", "group").order_by("-id")[:PAGE])
    states: dict[int, dict[str, int]] = {}
    items = UploadFile.objects.filter(upload__in=rows).order_by()
    for upload_id, state, count in items.values_list("upload", "state").annotate(count=Count("pk")):
        states.setdefault(upload_id, {})[state] = count
    table = [{"upload": row, "states": states.get(row.pk, {})} for row in rows]
    may = request.user.has_perm(SUBMIT)
    return render(request, "portal/uploads.html", {"table": table, "teams": get_teams(request.user), "may_send": may})


@permission_required(SUBMIT, raise_exception=True)
def send(request: HttpRequest) -> HttpResponse:
    """Handle the form: store its files, or create an empty upload for a script."""
    team = request.POST.get("group", "")
    group = get_object_or_404(get_teams(request.user), pk=int(team)) if team.isdecimal() else None
    files = request.FILES.getlist("files")
    try:
        check_quota(request.user, sum(sent.size or 0 for sent in files))
    except QuotaExceededError as error:
        messages.error(request, str(error))
        return redirect("uploads")
    if request.headers.get("Accept") == "application/json":
        upload = create_upload(request.user, group)
        return HttpResponse(orjson.dumps({"upload": upload.pk}), content_type="application/json")
    if not files:
        messages.error(request, _("Choose at least one file."))
        return redirect("uploads")
    return redirect("upload", receive_files(request.user, group, files).pk)


@require_GET
@login_required
def upload(request: HttpRequest, upload_id: int) -> HttpResponse:
    """Show an upload: each file with its state."""
    one = get_object_or_404(visible_uploads(request.user), pk=min(upload_id, 2**62))
    items = one.files.select_related("instance__job", "instance__series").order_by("created_at", "pk")
    if (state := request.GET.get("state", "")) in UploadFile.State.values:
        items = items.filter(state=state)
    start = parse_cursor(request, "start") or 0
    rows = list(items[start : start + PAGE + 1])
    more, rows = len(rows) > PAGE, rows[:PAGE]
    by_state = dict(one.files.order_by().values_list("state").annotate(Count("pk")))
    stored = one.files.filter(instance__isnull=False).values("instance")
    jobs = AnalysisJob.objects.filter(instance__in=stored).order_by().values_list("state")
    of_studies = Instance.objects.filter(pk__in=stored).values("series__study")
    context = {
        "upload": one,
        "rows": [{"file": row, "label": label_for(row.instance.job) if row.instance else ""} for row in rows],
        "by_state": by_state,
        "jobs": dict(jobs.annotate(Count("pk"))),
        "studies": Study.objects.filter(pk__in=of_studies)[:PAGE],
        "more": start + PAGE if more else None,
    }
    return render(request, "portal/upload.html", context)


@require_POST
@login_required
@permission_required(OPERATE, raise_exception=True)
def share(request: HttpRequest, study_id: int) -> HttpResponse:
    """Share a study with a team, or stop sharing it."""
    one = get_study(request, study_id)
    number = request.POST.get("group", "")
    group = get_object_or_404(Group.objects.exclude(name__in=ROLES), pk=int(number) if number.isdecimal() else 0)
    change = unshare_study if request.POST.get("end") else share_study
    change(one, group, actor_of(request), client_address(request))
    return redirect("study", one.pk)
