"""People, roles and teams, each change with its audit event in one transaction."""

import secrets
from collections.abc import Iterable
from typing import Any

from axes.utils import reset  # type: ignore[import-untyped]
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from accounts.access import ROLES
from audit.events import record_event


@transaction.atomic
def create_person(name: str, groups: Iterable[Group], actor: str) -> str:
    """Create a person with roles and teams, and return the initial password, to be shown once.

    Raises:
        IntegrityError: the name is in use.

    """
    password = secrets.token_urlsafe(12)
    person = get_user_model().objects.create_user(name, password=password)
    person.groups.set(groups)
    record_event("accounts", actor, f"added {name}: {_names(person)}")
    return password


@transaction.atomic
def change_person(person: Any, groups: Iterable[Group], actor: str, *, active: bool) -> None:
    """Change the roles and teams of a person, and whether they may log in."""
    person.groups.set(groups)
    person.is_active = active
    person.save(update_fields=["is_active"])
    record_event("accounts", actor, f"changed {person.username}: {_names(person)}{'' if active else '; deactivated'}")


@transaction.atomic
def reset_password(person: Any, actor: str) -> str:
    """Set a new password, unlock the account, and return the password, to be shown once."""
    password = secrets.token_urlsafe(12)
    person.set_password(password)
    person.save(update_fields=["password"])
    reset(username=person.username)
    record_event("accounts", actor, f"reset the password of {person.username}")
    return password


@transaction.atomic
def create_team(name: str, actor: str) -> None:
    """Create a team.

    Raises:
        IntegrityError: the name is in use.

    """
    Group.objects.create(name=name)
    record_event("accounts", actor, f"added team {name}")


def _names(person: Any) -> str:
    names = person.groups.order_by("name").values_list("name", flat=True)
    return ", ".join(f"role {name}" if name in ROLES else f"team {name}" for name in names) or "no role"
