"""The pages of uploads: choose and send files, and the summary of an upload."""

from typing import Any

import orjson
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from accounts.access import SUBMIT, get_teams
from accounts.audit_events import actor_of
from analysis.models import AnalysisJob
from archive.models import Instance, Study
from core.standby import read_from_standby
from portal.labels import FILE_STATES, label_for
from portal.studies import parse_number
from uploads.models import Upload, UploadFile
from uploads.quotas import QuotaExceededError, check_quota
from uploads.services import create_upload, receive_files, visible_uploads

PAGE = 50


@login_required
def show_uploads(request: HttpRequest) -> HttpResponse:
    """List uploads, with a form that works without a script."""
    if request.method == "POST":
        return send(request)
    context = {
        "table": read_from_standby(actor_of(request), lambda: list_uploads(request.user)),
        "teams": get_teams(request.user),
        "may_send": request.user.has_perm(SUBMIT),
    }
    return render(request, "portal/uploads.html", context)


def list_uploads(user: Any) -> list[dict[str, Any]]:
    """Return the latest visible uploads, with the numbers of their files by state."""
    rows = list(visible_uploads(user).select_related("user", "group").order_by("-id")[:PAGE])
    states: dict[int, dict[str, int]] = {}
    files = UploadFile.objects.filter(upload__in=rows).order_by()
    for upload_id, state, count in files.values_list("upload", "state").annotate(count=Count("pk")):
        states.setdefault(upload_id, {})[state] = count
    return [{"upload": row, "states": in_order(states.get(row.pk, {}))} for row in rows]


def in_order(counts: dict[str, int]) -> dict[str, int]:
    """Return counts of files by state, in the order of the labels."""
    return {state: counts[state] for state in FILE_STATES if state in counts}


def send(request: HttpRequest) -> HttpResponse:
    """Handle the form: store its files, or create an empty upload for the script."""
    if not request.user.has_perm(SUBMIT):
        raise PermissionDenied("submitters")
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
def show_upload(request: HttpRequest, upload_id: int) -> HttpResponse:
    """Show an upload: what was accepted, stored already, conflicting or refused, and why."""
    upload = get_object_or_404(visible_uploads(request.user), pk=min(upload_id, 2**62))
    files = upload.files.select_related("instance__job").order_by("created_at", "pk")
    if (state := request.GET.get("state", "")) in UploadFile.State.values:
        files = files.filter(state=state)
    start = parse_number(request, "start") or 0
    rows = list(files[start : start + PAGE + 1])
    address = request.GET.copy()
    address["start"] = str(start + PAGE)
    context = {
        "upload": upload,
        "rows": [{"file": row, "label": label_for(row.instance.job) if row.instance else ""} for row in rows[:PAGE]],
        "state": state,
        "more": address.urlencode() if len(rows) > PAGE else "",
        **summarize(upload),
    }
    return render(request, "portal/upload.html", context)


def summarize(upload: Upload) -> dict[str, Any]:
    """Count the files by outcome, the refusals by reason, and the stored images by state; list their studies."""
    by_state = dict(upload.files.order_by().values_list("state").annotate(Count("pk")))
    refused = upload.files.filter(state=UploadFile.State.REFUSED).order_by().values("reason")
    stored = upload.files.filter(instance__isnull=False).values("instance")
    jobs = AnalysisJob.objects.filter(instance__in=stored).order_by().values_list("state")
    of_studies = Instance.objects.filter(pk__in=stored).values("series__study")
    return {
        "by_state": in_order(by_state),
        "refused": refused.annotate(count=Count("pk")).order_by("-count", "reason"),
        "jobs": dict(jobs.annotate(Count("pk"))),
        "studies": Study.objects.filter(pk__in=of_studies).order_by("patient_name")[:PAGE],
    }
