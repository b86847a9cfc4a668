"""Make, list and revoke the tokens of those who send over HTTP."""

import getpass
import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from archive.models import Sender
from audit.log import note
from ingest.senders import digest


class Command(BaseCommand):
    """`manage.py sender create NAME`, `manage.py sender list`, `manage.py sender revoke NAME`."""

    help = "Tokens of those who send over HTTP. As soon as there is one, every upload needs one. Shown once, when made."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        commands.add_parser("create", help="make a token and print it, once").add_argument("name")
        commands.add_parser("list", help="names")
        commands.add_parser("revoke", help="end a token, at once").add_argument("name")

    def handle(self, **options: Any) -> None:
        """Do it."""
        match options["command"]:
            case "create":
                token = secrets.token_urlsafe(32)
                try:
                    Sender.objects.create(digest=digest(token), name=options["name"])
                except IntegrityError:
                    raise CommandError(f"there is a sender {options['name']!r} already") from None
                note("sender", f"person:{getpass.getuser()}", f"token of {options['name']} made")
                self.stdout.write(token)
            case "revoke":
                if not Sender.objects.filter(name=options["name"]).delete()[0]:
                    raise CommandError(f"there is no sender {options['name']!r}; `sender list` shows those there are")
                note("sender", f"person:{getpass.getuser()}", f"token of {options['name']} revoked")
                self.stdout.write(f"{options['name']} revoked")
            case "list":
                for sender in Sender.objects.order_by("name"):
                    self.stdout.write(f"{sender.name}\tsince {sender.created_at:%Y-%m-%d}")
