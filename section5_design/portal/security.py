"""What a browser may load: this server's own files, and no script inside a page; how much at once; for how long."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

BODIES, OF_ONE = 26, 20  # of a web process's 32 threads, at most, wait for bodies; of one address's

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class ContentSecurityPolicy:
    """Sends the policy with every answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer."""
        response = self._get_response(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response


class PlacesForBodies:
    """Keeps threads free for who only reads: a request with a body holds one until the body is here, however slow.

    A server in front (deploy/nginx.conf) ends senders that are too slow; this contains those that come without one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer; 503 where all places are taken, or most of them by one address."""
        if not (request.META.get("CONTENT_LENGTH") or "").strip("0") and not request.headers.get("Transfer-Encoding"):
            return self._get_response(request)
        address = str(request.META.get("REMOTE_ADDR", ""))
        with self._lock:
            full = self._taken.total() >= BODIES or self._taken[address] >= OF_ONE
            if not full:
                self._taken[address] += 1
        if full:
            return HttpResponse("too much is being sent at once; try again\n", status=503, headers={"Retry-After": "2"})
        try:
            return self._get_response(request)
        finally:
            with self._lock:
                self._taken[address] -= 1
                self._taken += Counter()  # forgets those at zero


class SessionsEnd:
    """Ends a session after a shift, also one that is never idle."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer."""
        if request.user.is_authenticated:
            since = request.session.setdefault("since", time.time())
            if time.time() - since > settings.LONGEST_SESSION:
                logout(request)
        return self._get_response(request)
