"""Audit events of people: what they viewed and exported (PS3.15, A.5.3), logins, and changes to accounts."""

import time
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from archive.models import Instance, Study
from audit.events import NOTHING, Subject, record_event

REPEAT_SECONDS = 600.0  # the same view within this time is one event
MAX_REMEMBERED = 10_000
_recent: dict[tuple[Any, ...], float] = {}


def about_instance(instance: Instance) -> Subject:
    """Return the subject of an event about an instance."""
    return Subject(instance.pk, instance.series.study.uid, instance.sop_class_uid, instance.sop_instance_uid)


def about_study(study: Study) -> Subject:
    """Return the subject of an event about a study."""
    return Subject(study_uid=study.uid)


def actor_of(request: HttpRequest) -> str:
    """Return the person behind a request, as the audit log names them."""
    return f"user:{request.user.get_username()}"


def record_access(
    request: HttpRequest, kind: str, detail: str = "", *, subject: Subject = NOTHING, actor: str = ""
) -> None:
    """Record what the person behind a request did."""
    record_event(kind, actor or actor_of(request), detail, subject=subject, address=client_address(request))


def record_access_once(
    request: HttpRequest, kind: str, detail: str = "", *, subject: Subject = NOTHING, actor: str = ""
) -> None:
    """Record what a person or a program did unless the same event was recorded recently.

    Changing the window, scrolling frames and live pages repeat the same request dozens of times; that is one view.
    """
    key, now = (actor or request.user.get_username(), kind, detail, subject), time.monotonic()
    if now - _recent.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS:
        return
    if len(_recent) >= MAX_REMEMBERED:
        _recent.clear()
    _recent[key] = now
    record_access(request, kind, detail, subject=subject, actor=actor)


def client_address(request: HttpRequest | None) -> str:
    """Return the network address of a request."""
    return str(request.META.get("REMOTE_ADDR", "")) if request is not None else ""


@receiver(user_logged_in)
def record_login(request: HttpRequest, user: Any, **_: Any) -> None:
    """Record a login."""
    request.session["since"] = time.time()
    record_event("login", f"user:{user.get_username()}", address=client_address(request))


@receiver(user_logged_out)
def record_logout(request: HttpRequest, user: Any, **_: Any) -> None:
    """Record a logout."""
    if user is not None:
        record_event("logout", f"user:{user.get_username()}", address=client_address(request))


@receiver(user_login_failed)
def record_failed_login(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Record a failed login; the name only if such an account exists, since people type passwords there."""
    name = str(credentials.get("username", ""))[:100].replace("\0", "")
    known = get_user_model().objects.filter(username=name).exists()
    record_event("login failed", f"user:{name if known else 'unknown'}", address=client_address(request))
