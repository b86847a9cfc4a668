"""Who may do what in the production profile: bearer tokens (RFC 6750), and how often."""

import hashlib
import threading
import time
from typing import Any

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from elements.models import Token
from elements.request_log import client_of

REMEMBERED = 10_000  # clients


def digest(token: str) -> str:
    """What is stored of a token. It is 256 random bits, so a fast hash without salt is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`; looked up each time, so that a revoked token ends at once."""

    def authenticate(self, request: Request) -> tuple[Token, None] | None:
        """The token's row; None where the header is missing."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        found = Token.objects.filter(digest=digest(token.strip())).first() if scheme.lower() == "bearer" else None
        if found is None:
            raise AuthenticationFailed("the token is not known here, or was revoked")
        request._request.token_name = found.name
        return found, None

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        """The challenge that goes with 401."""
        return 'Bearer realm="api"'


class TokenScope(BasePermission):
    """Any token may read; a write token may write."""

    message = "this token is for reading only"

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002
        """Whether the token of the request is good for its method."""
        if not isinstance(request.user, Token):
            self.message = "send a token: Authorization: Bearer ..."
            return False
        return request.method in SAFE_METHODS or request.user.scope == Token.Scope.WRITE


class PerMinute(BaseThrottle):
    """A bucket for each client that fills at REQUESTS_PER_MINUTE; kept in the memory of each worker process."""

    _buckets: dict[str, tuple[float, float]] = {}  # noqa: RUF012  # what was left, and when; oldest first
    _lock = threading.Lock()

    def allow_request(self, request: Request, view: Any) -> bool:  # noqa: ARG002
        """Whether the bucket has a request left."""
        client = getattr(request._request, "token_name", None) or client_of(request._request)
        most, now = settings.REQUESTS_PER_MINUTE, time.monotonic()
        with self._lock:
            left, then = self._buckets.pop(client, (float(most), now))
            left = min(most, left + (now - then) * most / 60)
            allowed = left >= 1
            self._buckets[client] = (left - allowed, now)
            if len(self._buckets) > REMEMBERED:
                del self._buckets[next(iter(self._buckets))]
        self._wait = (1 - left) * 60 / most
        return allowed

    def wait(self) -> float:
        """Seconds until there is one again."""
        return self._wait
