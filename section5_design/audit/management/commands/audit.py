"""Verify the audit log's chain, and export the log as DICOM audit messages."""

import getpass
from argparse import ArgumentParser
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit import chain
from audit.checkpoints import DropError, drop_month
from audit.events import record_event
from audit.messages import build_message
from audit.queries import iter_events


def parse_month(text: str) -> date:
    """Parse a month."""
    return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()


class Command(BaseCommand):
    """`manage.py audit verify|export|chain|drop`."""

    help = "The audit log: verify that nobody altered it, or export it as DICOM audit messages (PS3.15, A.5)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        verify = commands.add_parser("verify", help="verify the chain since the last checkpoint; 0 if it is intact")
        verify.add_argument("--all", action="store_true", help="verify every month that was not dropped")
        drop = commands.add_parser("drop", help="drop the events of a month that is no longer kept")
        drop.add_argument("month", type=parse_month, metavar="YYYY-MM")
        export = commands.add_parser("export", help="print each event as an audit message, one per line")
        export.add_argument(
            "--since", type=datetime.fromisoformat, metavar="TIME", help="ISO 8601; UTC unless it has an offset"
        )
        commands.add_parser("chain", help="link events that are not linked yet, late ones too")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        match options["command"]:
            case "verify":
                self.verify(complete=options["all"])
            case "drop":
                try:
                    drop_month(options["month"], f"person:{getpass.getuser()}")
                except DropError as error:
                    raise CommandError(str(error)) from None
                self.stdout.write(f"the events of {options['month']:%Y-%m} are dropped")
            case "chain":
                while chain.extend_chain(include_late=True):
                    pass
            case "export":
                since = options["since"]
                since = since.replace(tzinfo=UTC) if since and since.tzinfo is None else since
                for event in iter_events(since):
                    self.stdout.write(build_message(event).decode().replace("\n", " "))
                record_event("audit", f"person:{getpass.getuser()}", "exported")

    def verify(self, *, complete: bool) -> None:
        """Report each fault."""
        faults = list(chain.verify_chain(complete=complete))
        for line in faults:
            self.stderr.write(line)
        if faults:
            raise CommandError(f"{len(faults)} faults")
        number, hash_ = chain.head()
        self.stdout.write(f"{number:,} events, unaltered; the last link is {hash_.hex()}")
