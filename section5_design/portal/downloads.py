"""Downloads: an image's result or file, a study's results, several studies as one streamed ZIP file."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import orjson
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from accounts.access import visible_instances
from accounts.audit_events import about_instance, about_study, record_access
from analysis.models import Result, Run
from archive.models import Study
from archive.object_store import object_key, open_object
from portal.selectors import get_instance, get_study
from portal.zip_stream import zip_stream


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
            raise Http404("no preview")
        return FileResponse(open_object(result.preview), content_type="image/png")
    row = {"sop_instance_uid": one.sop_instance_uid, **result.figures}
    if kind == "json":
        return HttpResponse(orjson.dumps(row), content_type="application/json")
    return HttpResponse(format_csv([row]), content_type="text/csv; charset=utf-8")


@require_GET
@login_required
def download_study(request: HttpRequest, study_id: str, kind: str) -> HttpResponseBase:
    """Download the results of a study as JSON or CSV, or everything as a streamed ZIP file."""
    one = get_study(request, int(study_id))
    if kind == "zip":
        return send_zip(request, [one])
    record_access(request, "exported", kind, subject=about_study(one))
    visible = visible_instances(request.user).filter(series__study=one)
    results = Result.objects.filter(instance__in=visible).select_related("instance").order_by("instance_id")
    rows = [{"sop_instance_uid": result.instance.sop_instance_uid, **result.figures} for result in results.iterator()]
    if kind == "json":
        return HttpResponse(orjson.dumps(rows), content_type="application/json")
    return HttpResponse(format_csv(rows), content_type="text/csv; charset=utf-8")


@require_GET
@login_required
def download_run(request: HttpRequest, run_id: int, index: int) -> FileResponse:
    """Download a file of a run, if every image that it covers is visible."""
    run = get_object_or_404(Run.objects.select_related("target__study"), pk=min(run_id, 2**62))
    visible = visible_instances(request.user).filter(pk__in=run.inputs)
    if visible.count() != len(run.inputs) or index >= len(run.files):
        raise Http404("no such file")
    record_access(request, "exported", run.files[index]["kind"], subject=about_study(run.target.study))
    return FileResponse(open_object(run.files[index]["key"]), as_attachment=True, filename=run.files[index]["name"])


def send_zip(request: HttpRequest, studies: Sequence[Study]) -> StreamingHttpResponse:
    """Stream the visible images of studies with their results as a ZIP file."""
    for study in studies:
        record_access(request, "exported", "zip", subject=about_study(study))
    visible = visible_instances(request.user).filter(series__study__in=studies)
    name = f"study-{studies[0].pk}" if len(studies) == 1 else f"{len(studies)}-studies"
    headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    content = zip_stream(visible.select_related("series").order_by("series__study", "series", "pk"))
    return StreamingHttpResponse(content, content_type="application/zip", headers=headers)


def format_csv(rows: list[dict[str, Any]]) -> str:
    """Format figures as CSV, without histogram and frames."""
    flat = [{name: value for name, value in row.items() if not isinstance(value, list | dict)} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in flat for name in row)))
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()
