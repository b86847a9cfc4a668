"""Authenticate HTTP clients by bearer token (RFC 6750)."""

import hashlib
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from accounts.models import ApiToken


class UnknownTokenError(Exception):
    """A token is required, and it is missing or unknown."""


@dataclass(frozen=True)
class Client:
    """Who sends a request: as the audit log names them, and the person whose token it is, if it is personal."""

    source: str
    user: Any = None


def hash_token(token: str) -> str:
    """Return what is stored of a token. It has 256 random bits, so a fast hash without salt is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate(request: HttpRequest) -> Client:
    """Return the client of a request: http:NAME by a token, user:NAME by a person's own token.

    On a private machine, and until the first token is created, anybody may send and is named by address.

    Raises:
        UnknownTokenError: the token is missing or unknown, or its person may no longer log in.

    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found = ApiToken.objects.filter(digest=hash_token(token.strip())).select_related("user").first()
        if found is None or (found.user and not found.user.is_active):
            raise UnknownTokenError
        if found.user:
            return Client(f"user:{found.user.get_username()}", found.user)
        return Client(f"http:{found.name}")
    if settings.IS_PUBLIC or ApiToken.objects.exists():
        raise UnknownTokenError
    return Client(f"http:{request.META.get('REMOTE_ADDR', '')}")


def authenticate_sender(request: HttpRequest) -> str:
    """Return the source of a request, as the audit log names it.

    Raises:
        UnknownTokenError: the token is missing or unknown.

    """
    return authenticate(request).source
