"""Authenticate HTTP senders by bearer token (RFC 6750)."""

import hashlib

from django.conf import settings
from django.http import HttpRequest

from accounts.models import ApiToken


class UnknownTokenError(Exception):
    """A token is required, and it is missing or unknown."""


def hash_token(token: str) -> str:
    """Return what is stored of a token. It has 256 random bits, so a fast hash without salt is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate_token(request: HttpRequest) -> ApiToken:
    """Return the token of a request.

    Raises:
        UnknownTokenError: it is missing or unknown.

    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    found = ApiToken.objects.filter(digest=hash_token(token.strip())).select_related("group").first()
    if scheme.lower() != "bearer" or found is None:
        raise UnknownTokenError
    return found


def authenticate_sender(request: HttpRequest) -> str:
    """Return the sender of a request, as http:NAME.

    On a private machine, and until the first token is created, anybody may send and is named by address.

    Raises:
        UnknownTokenError: the token is missing or unknown.

    """
    if request.headers.get("Authorization", "").lower().startswith("bearer "):
        return f"http:{authenticate_token(request).name}"
    if settings.IS_PUBLIC or ApiToken.objects.exists():
        raise UnknownTokenError
    return f"http:{request.META.get('REMOTE_ADDR', '')}"
