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
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        create = commands.add_parser("create", help="create a user with a token, and print it once")
        create.add_argument("name", help="the user's name, which the log shows")
        create.add_argument("--scope", choices=SCOPES, default="read", help="read by default")
        commands.add_parser("list", help="list users and their permissions")
        commands.add_parser("revoke", help="delete a user and its tokens").add_argument("name")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        users = get_user_model().objects.filter(auth_token_set__isnull=False)
        match options["command"]:
            case "create":
                self.create(options["name"], options["scope"])
            case "revoke":
                if not users.filter(username=options["name"]).distinct().count():
                    raise CommandError(f"there is no token {options['name']!r}; `token list` shows them")
                get_user_model().objects.get(username=options["name"]).delete()
                self.stdout.write(f"{options['name']} revoked")
            case "list":
                for user in users.distinct().order_by("username"):
                    scope = "write" if user.has_perm("elements.change_element") else "read"
                    self.stdout.write(f"{user.username}\t{scope}\tsince {user.date_joined:%Y-%m-%d}")

    def create(self, name: str, scope: str) -> None:
        """Create a user without a password, with the scope's permissions and a token."""
        user, new = get_user_model().objects.get_or_create(username=name)
        if not new:
            raise CommandError(f"there is already a user {name!r}; revoke it first, or choose another name")
        user.set_unusable_password()
        user.save()
        names = [f"{action}_element" for action in SCOPES[scope]]
        user.user_permissions.set(Permission.objects.filter(content_type__app_label="elements", codename__in=names))
        _, token = AuthToken.objects.create(user)
        self.stdout.write(token)
