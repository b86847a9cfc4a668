"""Verify the audit log's chain, and export the log as DICOM audit messages."""

import getpass
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit import chain
from audit.events import record_event
from audit.messages import build_message
from audit.queries import iter_events


class Command(BaseCommand):
    """`manage.py audit verify`, `manage.py audit export [--since TIME]`, `manage.py audit chain`."""

    help = "The audit log: verify that nobody altered it, or export it as DICOM audit messages (PS3.15, A.5)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        commands.add_parser("verify", help="verify the complete chain; exit status 0 if it is intact")
        export = commands.add_parser("export", help="print each event as an audit message, one per line")
        export.add_argument(
            "--since", type=datetime.fromisoformat, metavar="TIME", help="ISO 8601; UTC unless it has an offset"
        )
        commands.add_parser("chain", help="link events that are not linked yet, late ones too")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        match options["command"]:
            case "verify":
                self.verify()
            case "chain":
                while chain.extend_chain(include_late=True):
                    pass
            case "export":
                since = options["since"]
                since = since.replace(tzinfo=UTC) if since and since.tzinfo is None else since
                for event in iter_events(since):
                    self.stdout.write(build_message(event).decode().replace("\n", " "))
                record_event("audit", f"person:{getpass.getuser()}", "exported")

    def verify(self) -> None:
        """Report each fault."""
        faults = list(chain.verify_chain())
        for line in faults:
            self.stderr.write(line)
        if faults:
            raise CommandError(f"{len(faults)} faults")
        number, hash_ = chain.head()
        self.stdout.write(f"{number:,} events, unaltered; the last link is {hash_.hex()}")
