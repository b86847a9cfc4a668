"""Who sends over HTTP, by bearer token (RFC 6750)."""

import hashlib

from django.conf import settings
from django.http import HttpRequest

from archive.models import Sender


class UnknownSenderError(Exception):
    """A token is needed, and there is none, or one that is not known."""


def digest(token: str) -> str:
    """What is stored of a token. It is 256 random bits, so a fast hash without salt is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def sender_of(request: HttpRequest) -> str:
    """The name of who sends; on a machine that serves itself alone, until a token is made, anybody by address.

    Raises:
        UnknownSenderError: the token is not known, or missing.

    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found = Sender.objects.filter(digest=digest(token.strip())).first()
        if found is None:
            raise UnknownSenderError
        return f"http:{found.name}"
    if settings.FOR_OTHERS or Sender.objects.exists():
        raise UnknownSenderError
    return f"http:{request.META.get('REMOTE_ADDR', '')}"
