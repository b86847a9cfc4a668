"""The audit page, and the receipts of images."""

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.access import AUDIT
from accounts.audit_events import record_access
from accounts.models import Submission
from accounts.readers import Reader, reads
from archive.models import Instance
from archive.receipts import issue_receipt
from audit.messages import KINDS
from audit.queries import MAX_ROWS, find_events
from audit.signing import public_pem
from portal.api import json
from portal.pages import parse_cursor


@require_GET
@login_required
@permission_required(AUDIT, raise_exception=True)
def audit(request: HttpRequest) -> HttpResponse:
    """Show the audit log, filtered by person, kind and UID; reading it is an audit event itself."""
    wanted = {name: request.GET.get(name, "").replace("\0", "").strip()[:100] for name in ("actor", "kind", "uid")}
    rows = find_events(parse_cursor(request, "before"), **wanted)
    record_access(request, "audit", "read " + ", ".join(f"{name} {text}" for name, text in wanted.items() if text))
    query = request.GET.copy()
    if len(rows) == MAX_ROWS:
        query["before"] = str(rows[-1]["id"])
    context = {"rows": rows, "wanted": wanted, "kinds": sorted(KINDS)}
    return render(request, "portal/audit.html", context | {"more": query.urlencode() if len(rows) == MAX_ROWS else ""})


@reads
def receipt(request: HttpRequest, reader: Reader, instance_id: int) -> HttpResponse:  # noqa: ARG001
    """Return the signed receipt of a visible image; 202 until the audit chain has linked it, a second later."""
    one = reader.instances(per_row=True).filter(pk=min(instance_id, 2**62)).select_related("series__study").first()
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
