"""Content Security Policy, a limit on concurrent request bodies, and session timeouts."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

EXTEND_SECONDS = 60.0
MAX_BODIES, MAX_BODIES_PER_ADDRESS = 20, 16  # of a web process's threads (main.py); live streams take 16 more

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class ContentSecurityPolicy:
    """Add the policy to every response that has none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)  # the viewer has its own
        return response


class NoStore:
    """Keep pages and files with patient data out of every cache, unless a view says otherwise."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        response = self._get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response


class RequestBodyLimiter:
    """Keep threads free for reading: a request with a body occupies one until the body has arrived, however slowly.

    The proxy (deploy/nginx.conf.template) drops slow senders; this limit works without one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._lock = threading.Lock()
        self._active: Counter[str] = Counter()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request; 503 if too many bodies are in transfer, in total or from one address."""
        if not (request.META.get("CONTENT_LENGTH") or "").strip("0") and not request.headers.get("Transfer-Encoding"):
            return self._get_response(request)
        address = str(request.META.get("REMOTE_ADDR", ""))
        with self._lock:
            full = self._active.total() >= MAX_BODIES or self._active[address] >= MAX_BODIES_PER_ADDRESS
            if not full:
                self._active[address] += 1
        if full:
            return HttpResponse("too many concurrent uploads; try again\n", status=503, headers={"Retry-After": "2"})
        try:
            return self._get_response(request)
        finally:
            with self._lock:
                self._active[address] -= 1
                self._active += Counter()  # drop zero counts


class SessionTimeout:
    """End a session after a shift, even if it is never idle; extend one in use, which costs a commit, once a minute."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        if request.user.is_authenticated:
            now = time.time()
            if now - request.session.setdefault("since", now) > settings.MAX_SESSION_SECONDS:
                logout(request)
            elif now - request.session.get("extended", 0) > EXTEND_SECONDS:
                request.session["extended"] = now  # a change, so that it is saved and its cookie renewed
        return self._get_response(request)
