"""Administration of people, roles and teams."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.access import ADMINISTER, ROLES
from accounts.audit_events import actor_of
from accounts.people import change_person, create_person, create_team, reset_password
from portal.decorators import requires


def read_groups(request: HttpRequest) -> list[Group]:
    """Return the roles and teams that a form names."""
    return list(Group.objects.filter(pk__in=[int(text) for text in request.POST.getlist("group") if text.isdecimal()]))


def list_groups() -> dict[str, list[Group]]:
    """Return roles, in the order of their rights, and teams."""
    roles = {group.name: group for group in Group.objects.filter(name__in=ROLES)}
    teams = list(Group.objects.exclude(name__in=ROLES).order_by("name"))
    return {"roles": [roles[name] for name in ROLES if name in roles], "teams": teams}


@requires(ADMINISTER)
def show_people(request: HttpRequest) -> HttpResponse:
    """List people with their roles and teams; POST adds a person, whose password this page shows once."""
    context: dict[str, Any] = {}
    if request.method == "POST":
        name = request.POST.get("username", "").replace("\0", "").strip()[:150]
        try:
            UnicodeUsernameValidator()(name)
            context = {"added": name, "password": create_person(name, read_groups(request), actor_of(request))}
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        except IntegrityError:
            messages.error(request, _("This user name is in use."))
    people = get_user_model().objects.prefetch_related("groups").order_by("username")
    return render(request, "portal/people.html", {"people": people, **list_groups(), **context})


@requires(ADMINISTER)
def show_person(request: HttpRequest, person_id: int) -> HttpResponse:
    """Show a person; POST changes roles, teams and state, or resets the password, which this page shows once."""
    person = get_object_or_404(get_user_model(), pk=min(person_id, 2**31 - 1))
    context: dict[str, Any] = {}
    if request.method == "POST":
        if request.POST.get("action") == "password":
            context = {"password": reset_password(person, actor_of(request))}
        elif person == request.user:
            messages.error(request, _("Another administrator must change your own roles."))
        else:
            change_person(person, read_groups(request), actor_of(request), active="active" in request.POST)
            messages.success(request, _("Saved."))
            return redirect("people")
    context |= {"person": person, "chosen": set(person.groups.all()), **list_groups()}
    return render(request, "portal/person.html", context)


@require_POST
@requires(ADMINISTER)
def add_team(request: HttpRequest) -> HttpResponse:
    """Add a team."""
    name = " ".join(request.POST.get("name", "").replace("\0", "").split())[:80]
    try:
        if name:
            create_team(name, actor_of(request))
    except IntegrityError:
        messages.error(request, _("This name is in use."))
    return redirect("people")
