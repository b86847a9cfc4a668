"""Make, list and revoke the tokens of the API."""

import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from elements.access import digest
from elements.models import Token


class Command(BaseCommand):
    """`manage.py token create NAME --scope write`, `manage.py token list`, `manage.py token revoke NAME`."""

    help = "Make, list and revoke the tokens of the API. A token is shown once, when it is made; only its hash is kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        create = commands.add_parser("create", help="make a token and print it, once")
        create.add_argument("name", help="who or what will use it; the log shows this name")
        create.add_argument("--scope", choices=Token.Scope.values, default="read", help="read unless named")
        commands.add_parser("list", help="names and scopes")
        commands.add_parser("revoke", help="end a token, at once").add_argument("name")

    def handle(self, **options: Any) -> None:
        """Do it."""
        match options["command"]:
            case "create":
                self.create(options["name"], options["scope"])
            case "revoke":
                if not Token.objects.filter(name=options["name"]).delete()[0]:
                    raise CommandError(f"there is no token {options['name']!r}; `token list` shows those there are")
                self.stdout.write(f"{options['name']} revoked")
            case "list":
                for token in Token.objects.order_by("name"):
                    self.stdout.write(f"{token.name}\t{token.scope}\tsince {token.created_at:%Y-%m-%d}")

    def create(self, name: str, scope: str) -> None:
        """Make a token and print it."""
        token = secrets.token_urlsafe(32)
        try:
            Token.objects.create(digest=digest(token), name=name, scope=scope)
        except IntegrityError:
            raise CommandError(f"there is a token {name!r} already; revoke it first, or take another name") from None
        self.stdout.write(token)
