"""Who saw and took what, for the log (PS3.15, A.5.3), and who logged in."""

import time
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest

from audit.log import note as write

AGAIN = 600.0  # seconds in which the same is the same look
MOST = 10_000
_lately: dict[tuple[Any, ...], float] = {}


def note(request: HttpRequest, kind: str, detail: str = "", *, actor: str = "", **what: Any) -> None:
    """Write a line about what who asks did: with an `instance_id`, or a `study_id`."""
    write(kind, actor or f"user:{request.user.get_username()}", detail, address=address_of(request), **what)


def note_once(request: HttpRequest, kind: str, detail: str = "", **what: Any) -> None:
    """Write a line, unless this person's same one was written lately.

    Windows, frames and pages that move by themselves ask for the same dozens of times, which is one look.
    """
    key, now = (request.user.get_username(), kind, detail, *what.items()), time.monotonic()
    if now - _lately.get(key, -AGAIN) < AGAIN:
        return
    if len(_lately) >= MOST:
        _lately.clear()
    _lately[key] = now
    note(request, kind, detail, **what)


def address_of(request: HttpRequest | None) -> str:
    """Where a request came from."""
    return str(request.META.get("REMOTE_ADDR", "")) if request is not None else ""


@receiver(post_save, sender=LogEntry)
def account_changed(instance: LogEntry, **_: Any) -> None:
    """Somebody changed accounts, groups or roles in Django's admin."""
    done = {ADDITION: "added", CHANGE: "changed", DELETION: "deleted"}.get(instance.action_flag, "changed")
    what = f"{done} {instance.content_type} {instance.object_repr}: {instance.get_change_message()}"
    write("accounts", f"user:{instance.user.get_username()}", what)


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
