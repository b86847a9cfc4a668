"""Decorators of views."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

from accounts.access import ADMINISTER, AUDIT, OPERATE, SUBMIT

ROLE_FOR = {SUBMIT: "submitters", OPERATE: "operators", AUDIT: "auditors", ADMINISTER: "administrators"}
View = Callable[..., HttpResponseBase]


def requires(permission: str) -> Callable[[View], View]:
    """Require a login and a permission; the page of the refusal names the role to ask for."""

    def decorate(view: View) -> View:
        @wraps(view)
        @login_required
        def checked(request: HttpRequest, *values: Any, **named: Any) -> HttpResponseBase:
            if not request.user.has_perm(permission):
                raise PermissionDenied(ROLE_FOR[permission])
            return view(request, *values, **named)

        return checked

    return decorate
