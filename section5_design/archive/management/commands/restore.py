"""Restore a backup into an empty database and an empty store, and verify that it is complete."""

import json
import os
import shutil
import uuid
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from tqdm import tqdm

from archive.management.commands.backup import CHUNK, hash_file, run
from archive.object_store import store


class Command(BaseCommand):
    """`manage.py restore FOLDER`."""

    help = "Restore what `backup` made. The database must be empty; the master key must be the one of the backup."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        parser.add_argument("folder", type=Path, help="the backup")

    def handle(self, **options: Any) -> None:
        """Restore objects first, so that no row lacks its object; then the rows; then hash every object again."""
        folder: Path = options["folder"]
        try:
            manifest = json.loads((folder / "backup.json").read_text(encoding="utf-8"))
            intact = hash_file(folder / "database.dump") == manifest["database_sha256"]
        except (OSError, ValueError, KeyError):
            raise CommandError(f"{folder}: not a complete backup") from None
        if not intact:
            raise CommandError(f"{folder / 'database.dump'}: was altered")
        if connection.introspection.table_names():
            raise CommandError("the database of DATABASE_URL is not empty; restore into a new one")
        paths = [path for prefix in ("objects", "previews") for path in (folder / prefix).rglob("*") if path.is_file()]
        settings.SPOOL_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in tqdm([path for path in paths if path.suffix != ".part"], unit=" objects", delay=1, disable=None):
            spooled = settings.SPOOL_FOLDER / uuid.uuid4().hex
            with path.open("rb") as source, spooled.open("xb") as target:
                shutil.copyfileobj(source, target, CHUNK)
                target.flush()
                os.fsync(target.fileno())
            store().put(spooled, str(path.relative_to(folder)))
        run(
            "pg_restore",
            *("--exit-on-error", "--no-owner", "--no-privileges", "--single-transaction"),
            "--dbname={url}",
            str(folder / "database.dump"),
        )
        call_command("verify", stdout=self.stdout, stderr=self.stderr)
        call_command("audit", "verify", stdout=self.stdout, stderr=self.stderr)
