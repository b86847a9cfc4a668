"""Who saw and took what, for the log (PS3.15, A.5.3), and who logged in."""

import time
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from audit.log import note as write

AGAIN = 600.0  # seconds in which the same person's look at the same picture is the same look
MOST = 10_000
_seen: dict[tuple[str, str, int], float] = {}


def note(request: HttpRequest, kind: str, detail: str = "", *, actor: str = "", **what: Any) -> None:
    """Write a line about what who asks did: with an `instance_id`, or a `study_id`."""
    write(kind, actor or f"user:{request.user.get_username()}", detail, address=address_of(request), **what)


def note_look(request: HttpRequest, what: str, number: int) -> None:
    """That somebody saw an `instance_id` or a `study_id`; windows, frames and pages that move by themselves ask for it
    dozens of times, which is one look.
    """
    key, now = (request.user.get_username(), what, number), time.monotonic()
    if now - _seen.get(key, -AGAIN) < AGAIN:
        return
    if len(_seen) >= MOST:
        _seen.clear()
    _seen[key] = now
    note(request, "seen", **{what: number})


def address_of(request: HttpRequest | None) -> str:
    """Where a request came from."""
    return str(request.META.get("REMOTE_ADDR", "")) if request is not None else ""


@receiver(user_logged_in)
def logged_in(request: HttpRequest, user: Any, **_: Any) -> None:
    """Somebody logged in."""
    request.session["since"] = time.time()
    write("login", f"user:{user.get_username()}", address=address_of(request))


@receiver(user_logged_out)
def logged_out(request: HttpRequest, user: Any, **_: Any) -> None:
    """Somebody logged out."""
    if user is not None:
        write("logout", f"user:{user.get_username()}", address=address_of(request))


@receiver(user_login_failed)
def login_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Somebody tried. The name is kept only where there is such an account: people type passwords there."""
    from django.contrib.auth import get_user_model

    name = str(credentials.get("username", ""))[:100].replace("\0", "")
    known = get_user_model().objects.filter(username=name).exists()
    write("login failed", f"user:{name if known else 'unknown'}", address=address_of(request))
