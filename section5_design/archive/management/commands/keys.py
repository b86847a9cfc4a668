"""See the sealing keys, and wrap them under a new master key."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from archive.master_key import is_current, unwrap, wrap
from archive.models import SealingKey
from audit.log import note


class Command(BaseCommand):
    """`manage.py keys list`, `manage.py keys rotate`."""

    help = (
        "The keys that seal objects. To change the master key: put the new one before the old one in MASTER_KEY_FILE,"
        " `keys rotate`, start every part anew, take the old one away. No object is written again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        commands.add_parser("list", help="each with the fingerprint of its master key")
        commands.add_parser("rotate", help="wrap each under the first master key")

    def handle(self, **options: Any) -> None:
        """Do it."""
        keys = SealingKey.objects.order_by("created_at")
        if options["command"] == "list":
            for key in keys:
                fingerprint = bytes(key.wrapped)[:8].hex()
                self.stdout.write(f"{key.pk}\tsince {key.created_at:%Y-%m-%d}\tunder master key {fingerprint}")
            return
        with transaction.atomic():
            old = [key for key in keys.select_for_update() if not is_current(bytes(key.wrapped))]
            for key in old:
                key.wrapped = wrap(unwrap(bytes(key.wrapped)))
                key.save()
            note("keys", f"person:{getpass.getuser()}", f"{len(old)} wrapped under another master key")
        self.stdout.write(f"{len(old)} wrapped anew")
