"""For auditors: who did what, newest first; and the receipt of an image, for who sent it."""

from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from archive.models import Instance
from audit.messages import KINDS
from audit.reading import MOST, newest
from audit.receipts import receipt_of
from audit.signing import public_pem
from portal.access import AUDIT
from portal.api import json, reads
from portal.noting import note
from portal.pages import after_of


@require_GET
@login_required
@permission_required(AUDIT, raise_exception=True)
def audit(request: HttpRequest) -> HttpResponse:
    """The log, narrowed by person, kind and UID; that somebody read it is a line of it, too."""
    wanted = {name: request.GET.get(name, "").replace("\0", "").strip()[:100] for name in ("actor", "kind", "uid")}
    rows = newest(after_of(request, "before"), **wanted)
    note(request, "audit", "read " + ", ".join(f"{name} {text}" for name, text in wanted.items() if text))
    query = request.GET.copy()
    if len(rows) == MOST:
        query["before"] = str(rows[-1]["id"])
    context = {"rows": rows, "wanted": wanted, "kinds": sorted(KINDS)}
    return render(request, "portal/audit.html", context | {"more": query.urlencode() if len(rows) == MOST else ""})


@reads
def receipt(request: HttpRequest, mine: QuerySet[Instance], instance_id: int) -> HttpResponse:  # noqa: ARG001
    """The signed receipt of an image that who asks may see; 202 until the log has linked it, a second later."""
    one = mine.filter(pk=min(instance_id, 2**62)).select_related("series__study").first()
    if one is None:
        return json({"detail": "there is no such image"}, 404)
    signed = receipt_of(one)
    if signed is None:
        answer = json({"detail": "the receipt is being made; ask again"}, 202)
        answer.headers["Retry-After"] = "1"
        return answer
    name = f'attachment; filename="{one.sop_instance_uid}.receipt"'
    return HttpResponse(f"{signed}\n", "application/jose", headers={"Content-Disposition": name})


@require_GET
def receipt_key(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """The public key that receipts are checked with."""
    return HttpResponse(public_pem(), "application/x-pem-file")
