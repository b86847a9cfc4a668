"""Create, list and revoke the tokens of the API."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management.base import BaseCommand, CommandError
from knox.models import AuthToken  # type: ignore[import-untyped]

SCOPES = {"read": ["view"], "write": ["view", "add", "change", "delete"]}


class Command(BaseCommand):
    """`manage.py token create NAME --scope write`, `manage.py token list`, `manage.py token revoke NAME`."""

    help = "Create, list and revoke the tokens of the API. A token is shown once; the database holds only its hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("action", choices=["create", "list", "revoke"])
        parser.add_argument("name", nargs="?", default="", help="the name of the token's user, which the log shows")
        parser.add_argument("--scope", choices=SCOPES, default="read", help="of a new token; read by default")

    def handle(self, *, action: str, name: str, scope: str, **_: Any) -> None:
        """Run the command."""
        users = get_user_model().objects
        if action != "list" and not (name and name.isprintable()):
            raise CommandError(f"give the token a name of printable characters: token {action} NAME")
        if action == "list":
            for user in users.filter(auth_token_set__isnull=False).distinct().order_by("username"):
                granted = "write" if user.has_perm("elements.change_element") else "read"
                self.stdout.write(f"{user.username}\t{granted}\tsince {user.date_joined:%Y-%m-%d}")
        elif action == "create":
            if users.filter(username=name).exists():
                raise CommandError(f"there is already a user {name!r}; revoke it first, or choose another name")
            user = users.create_user(name)  # without a password
            codenames = [f"{permission}_element" for permission in SCOPES[scope]]
            user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
            self.stdout.write(AuthToken.objects.create(user)[1])
        elif not users.filter(username=name, auth_token_set__isnull=False).delete()[0]:
            raise CommandError(f"there is no token {name!r}; `token list` shows them")
