"""Verify signed receipts."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from archive.receipts import verify_receipt


class Command(BaseCommand):
    """`manage.py receipt FILE ...`."""

    help = "Verify receipts: the signature, the link of the audit log, and that the image is archived."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a receipt")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        faults = [f"{path}: {fault}" for path in options["files"] if (fault := check(path))]
        for line in faults:
            self.stderr.write(line)
        if faults:
            raise CommandError(f"{len(faults)} faults")
        self.stdout.write(f"{len(options['files'])} receipts are valid")


def check(path: Path) -> str:
    """Return what is wrong with a file; empty if it is a valid receipt."""
    try:
        return verify_receipt(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError):
        return "cannot be read"
