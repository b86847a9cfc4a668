"""Limit the size of request bodies by sender before they are parsed; record when people write."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from accounts.access import SUBMIT
from accounts.audit_events import actor_of
from core.standby import record_write

MAX_FORM_BYTES = 64 << 10  # of a form without files
STREAMED = "application/offset+octet-stream"  # tus: the view reads the body itself, after it authenticated the request


class BodySizeLimit:
    """Refuse large bodies of people who may not send, and of anybody above the limit of the upload form.

    Django's CSRF check parses a body, and writes its files to disk, before a view can ask who sends it. Views that
    authenticate by token are exempt from that check, and stream their bodies.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self._get_response(request)

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., HttpResponse],
        arguments: Any,  # noqa: ARG002
        keywords: Any,  # noqa: ARG002
    ) -> HttpResponseBase | None:
        """Answer before the body is read if it is too large for the user."""
        length = request.META.get("CONTENT_LENGTH") or "0"
        if getattr(view, "csrf_exempt", False) or (length.isdecimal() and int(length) <= MAX_FORM_BYTES):
            return None
        if not request.user.is_authenticated:
            if request.content_type == STREAMED:
                return HttpResponse("log in again\n", "text/plain", status=401)
            return redirect_to_login(request.path)
        if not request.user.has_perm(SUBMIT):
            return HttpResponse("You may not send images.\n", "text/plain", status=403)
        if request.content_type != STREAMED and int(length) > settings.MAX_FORM_MB << 20:
            text = f"The form accepts {settings.MAX_FORM_MB} MB; use the script of the page or a tus client.\n"
            return HttpResponse(text, "text/plain", status=413)
        return None


class RecordWrites:
    """Record, before a response, that a person wrote: the next list that they read has it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if not settings.STANDBY_URL:
            raise MiddlewareNotUsed
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        response = self._get_response(request)
        if request.method not in ("GET", "HEAD", "OPTIONS") and request.user.is_authenticated:
            record_write(actor_of(request))
        return response
