"""Back up the database and the objects into a folder; the next backup into it copies only new objects."""

import hashlib
import json
import os
import shutil
import subprocess
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from tqdm import tqdm

from archive.object_store import store
from audit.chain import head
from core.postgres_programs import major_version, program_folders

CHUNK = 1 << 20


class Command(BaseCommand):
    """`manage.py backup FOLDER`."""

    help = (
        "Back up while everything runs: the database as it is at a moment, then the objects that it names, sealed as"
        " they are. The master key and the signing key are not in it: keep them elsewhere, or nobody opens the backup."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        parser.add_argument("folder", type=Path, help="the target; may contain an earlier backup of the same system")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        try:
            self.back_up(options["folder"])
        except OSError as error:
            raise CommandError(f"{options['folder']}: {error.strerror}; the backup is incomplete") from None

    def back_up(self, folder: Path) -> None:
        """Save the rows first: an object is stored before its row, so each saved row finds its object."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        dump = folder / "database.dump.part"
        run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={dump}", "--dbname={url}")
        keys = [key for prefix in ("objects", "previews") for key, _ in store().iter_keys(prefix)]
        new = 0
        for key in tqdm(keys, unit=" objects", delay=1, disable=None):
            new += copy_object(key, folder / key)
        dump.replace(folder / "database.dump")
        number, hash_ = head()
        manifest = {"made_at": datetime.now(UTC).isoformat(), "objects": len(keys)}
        manifest |= {
            "database_sha256": hash_file(folder / "database.dump"),
            "log": {"link": number, "hash": hash_.hex()},
        }
        (folder / "backup.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        self.stdout.write(f"{len(keys):,} objects, {new:,} of them new, and the database in {folder}")


def run(program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs, of the server's version or newer; {url} becomes the database's URL.

    Raises:
        CommandError: it is missing, or it failed.

    """
    with connection.cursor():
        needed = connection.pg_version // 10000
    found = [folder for folder in program_folders() if (folder / program).exists() and major_version(folder) >= needed]
    if not found:
        raise CommandError(f"needs {program} of PostgreSQL {needed} or newer: apt install postgresql-client-{needed}")
    url, password = split_password(os.environ["DATABASE_URL"])
    command = [str(found[0] / program), *(argument.replace("{url}", url) for argument in arguments)]
    environment = os.environ | ({"PGPASSWORD": password} if password else {})  # everybody can read arguments
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CommandError(f"{program}: {' '.join(done.stderr.split())}")


def split_password(url: str) -> tuple[str, str]:
    """Split the password from a database URL."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{name}@{host}" if user else host)), unquote(parts.password or "")


def copy_object(key: str, target_path: Path) -> bool:
    """Copy an encrypted object; False if it exists already or was erased meanwhile."""
    if target_path.exists():
        return False
    target_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target_path.with_name(f"{target_path.name}.part")
    try:
        with store().open(key) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
            target.flush()
            os.fsync(target.fileno())
    except FileNotFoundError:  # erased meanwhile
        part.unlink(missing_ok=True)
        return False
    part.rename(target_path)
    return True


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
