"""Manage the API tokens of HTTP senders."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from accounts.management.commands.ae import GROUP_HELP, find_group
from accounts.models import ApiToken
from accounts.services import create_token, revoke_token


class Command(BaseCommand):
    """`manage.py token create NAME [--group NAME]`, `manage.py token list`, `manage.py token revoke NAME`."""

    help = "API tokens of HTTP senders. Once one exists, every upload needs one. A token is shown only when created."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        create = commands.add_parser("create", help="create a token and print it")
        create.add_argument("name")
        create.add_argument("--group", help=GROUP_HELP)
        commands.add_parser("list", help="list the names")
        commands.add_parser("revoke", help="revoke a token").add_argument("name")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        actor = f"person:{getpass.getuser()}"
        match options["command"]:
            case "create":
                try:
                    self.stdout.write(create_token(options["name"], actor, group=find_group(options["group"])))
                except IntegrityError:
                    raise CommandError(f"a token named {options['name']!r} exists already") from None
            case "revoke":
                if not revoke_token(options["name"], actor):
                    raise CommandError(f"no token named {options['name']!r}; `token list` shows the names")
                self.stdout.write(f"{options['name']} revoked")
            case "list":
                for token in ApiToken.objects.order_by("name"):
                    self.stdout.write(f"{token.name}\tsince {token.created_at:%Y-%m-%d}")
