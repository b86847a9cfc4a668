"""The audit page with its export, and the receipts of images."""

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.access import AUDIT
from accounts.audit_events import record_access
from accounts.models import Submission
from accounts.readers import Reader, reads
from archive.models import Instance, Study
from archive.receipts import issue_receipt
from audit.queries import MAX_ROWS, find_events
from audit.signing import public_pem
from portal.api import json
from portal.decorators import requires
from portal.labels import EVENTS
from portal.studies import is_reversed, parse_day, parse_number

COLUMNS = ("id", "at", "kind", "actor", "address", "study_uid", "sop_instance_uid", "detail", "correlation_id")
PARAMETERS = ("actor", "kind", "patient", "uid", "from", "to")


@require_GET
@requires(AUDIT)
def show_audit(request: HttpRequest) -> HttpResponse:
    """Show the audit log, filtered by person, kind, patient, UID and dates; reading it is an audit event itself."""
    wanted = {name: request.GET.get(name, "").replace("\0", "").strip()[:100] for name in PARAMETERS}
    rows = find_events(parse_number(request, "before"), **build_filter(wanted))
    record_access(request, "audit", "read " + describe(wanted))
    address = request.GET.copy()
    if len(rows) == MAX_ROWS:
        address["before"] = str(rows[-1]["id"])
    context = {
        "rows": rows,
        "wanted": wanted,
        "reversed": is_reversed(wanted),
        "kinds": EVENTS.items(),
        "more": address.urlencode() if len(rows) == MAX_ROWS else "",
        "export": request.GET.urlencode(),
    }
    return render(request, "portal/audit.html", context)


@require_GET
@requires(AUDIT)
def export_audit(request: HttpRequest) -> StreamingHttpResponse:
    """Stream the filtered audit log as CSV; exporting it is an audit event itself."""
    wanted = {name: request.GET.get(name, "").replace("\0", "").strip()[:100] for name in PARAMETERS}
    record_access(request, "audit", "exported " + describe(wanted))
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return StreamingHttpResponse(iter_csv(build_filter(wanted)), "text/csv; charset=utf-8", headers=headers)


def describe(wanted: dict[str, str]) -> str:
    """Describe a filter for the log, without a patient ID."""
    return ", ".join(name if name == "patient" else f"{name} {text}" for name, text in wanted.items() if text)


def build_filter(wanted: dict[str, str]) -> dict[str, Any]:
    """Build the arguments of `find_events`."""
    found: dict[str, Any] = {"actor": wanted["actor"], "kind": wanted["kind"]}
    if wanted["patient"]:
        found["uids"] = list(Study.objects.filter(patient_id=wanted["patient"]).values_list("uid", flat=True))
    if wanted["uid"]:
        found["uids"] = [wanted["uid"]]
    found["since"] = parse_day(wanted["from"]) if wanted["from"] else None
    found["until"] = parse_day(wanted["to"]) + timedelta(days=1) if wanted["to"] else None
    return found


def iter_csv(chosen: dict[str, Any]) -> Iterator[str]:
    """Generate CSV, a page of events at a time."""
    before = None
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    while rows := find_events(before, **chosen):
        writer.writerows({**row, "at": row["at"].isoformat()} for row in rows)
        yield text.getvalue()
        text.seek(0)
        text.truncate()
        before = rows[-1]["id"]
    yield text.getvalue()


@reads
def receipt(request: HttpRequest, reader: Reader, instance_id: int) -> HttpResponse:  # noqa: ARG001
    """Return the signed receipt of a visible image; 202 until the audit chain has linked it, a second later."""
    one = reader.instances().filter(pk=min(instance_id, 2**62)).select_related("series__study").first()
    if one is None:
        return json({"detail": "no such image"}, 404)
    signed = issue_receipt(one, choose_sender(reader, one))
    if signed is None:
        response = json({"detail": "the receipt is not ready; try again"}, 202)
        response.headers["Retry-After"] = "1"
        return response
    name = f'attachment; filename="{one.sop_instance_uid}.receipt"'
    return HttpResponse(f"{signed}\n", "application/jose", headers={"Content-Disposition": name})


@require_GET
def receipt_key(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Return the public key that verifies receipts."""
    return HttpResponse(public_pem(), "application/x-pem-file")


def choose_sender(reader: Reader, instance: Instance) -> str:
    """Return the sender that a receipt names: the reader if they sent the image, else its first sender."""
    sent = Submission.objects.filter(instance=instance, source=reader.name).exists()
    return reader.name if sent else instance.source
