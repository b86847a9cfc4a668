"""List the key-encryption keys, and wrap them under a new master key."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from archive.master_key import is_current, unwrap_key, wrap_key
from archive.models import KeyEncryptionKey
from audit.events import record_event


class Command(BaseCommand):
    """`manage.py keys list`, `manage.py keys rotate`."""

    help = (
        "The keys that encrypt objects. To change the master key: put the new one first in MASTER_KEY_FILE,"
        " run `keys rotate`, restart every program, remove the old one. No object is written again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        commands.add_parser("list", help="list the keys with the fingerprint of their master key")
        commands.add_parser("rotate", help="wrap every key under the first master key")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        keys = KeyEncryptionKey.objects.order_by("created_at")
        if options["command"] == "list":
            for key in keys:
                fingerprint = bytes(key.wrapped)[:8].hex()
                self.stdout.write(f"{key.pk}\tsince {key.created_at:%Y-%m-%d}\tunder master key {fingerprint}")
            return
        with transaction.atomic():
            old = [key for key in keys.select_for_update() if not is_current(bytes(key.wrapped))]
            for key in old:
                key.wrapped = wrap_key(unwrap_key(bytes(key.wrapped)))
                key.save()
            record_event("keys", f"person:{getpass.getuser()}", f"{len(old)} keys wrapped under another master key")
        self.stdout.write(f"{len(old)} keys wrapped again")
