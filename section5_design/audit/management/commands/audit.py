"""Check the log's chain and receipts, and give the log away as audit messages."""

import getpass
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit import chain, receipts
from audit.log import note
from audit.messages import message
from audit.reading import all_since


class Command(BaseCommand):
    """`manage.py audit verify [--receipt FILE]`, `manage.py audit export [--since TIME]`, `manage.py audit chain`."""

    help = "The log of who did what: verify that nobody altered it, export it as messages of PS3.15, A.5."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        verify = commands.add_parser("verify", help="go through the whole chain; 0 when it holds")
        verify.add_argument("--receipt", action="append", default=[], metavar="FILE", help="a receipt to check too")
        export = commands.add_parser("export", help="each line as an audit message, one a line of the output")
        export.add_argument("--since", type=datetime.fromisoformat, metavar="TIME", help="ISO 8601; UTC unless it says")
        commands.add_parser("chain", help="link what is not linked yet, also what came late")

    def handle(self, **options: Any) -> None:
        """Do it."""
        match options["command"]:
            case "verify":
                self.verify(options["receipt"])
            case "chain":
                while chain.extend(everything=True):
                    pass
            case "export":
                since = options["since"]
                since = since.replace(tzinfo=UTC) if since and since.tzinfo is None else since
                for line in all_since(since):
                    self.stdout.write(message(line).decode().replace("\n", " "))
                note("audit", f"person:{getpass.getuser()}", "exported")

    def verify(self, files: list[str]) -> None:
        """Name what does not hold."""
        wrong = list(chain.faults())
        for name in files:
            try:
                if said := receipts.fault_of(Path(name).read_text(encoding="ascii")):
                    wrong.append(f"{name}: {said}")
            except (OSError, UnicodeDecodeError):
                wrong.append(f"{name}: cannot be read")
        for line in wrong:
            self.stderr.write(line)
        if wrong:
            raise CommandError(f"{len(wrong)} faults")
        number, hash_ = chain.head()
        self.stdout.write(f"{number:,} lines, each as it was written; the last link is {hash_.hex()}")
