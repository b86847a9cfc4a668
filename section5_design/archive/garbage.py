"""Remove what nobody acknowledged: abandoned spool files and orphaned objects."""

import contextlib
import logging
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from archive.object_store import object_key, store

log = logging.getLogger("section5.garbage")

MIN_AGE = 3600.0  # seconds; receiving an instance takes less
RESUMABLE = 48 * 3600.0  # seconds more, for uploads that may be resumed
PREFIXES = 256
BATCH = 1000

# The lock that accepts a hash: shared by those who commit a row and know its object to exist, exclusive to delete it.
LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 7))"
LOCK_EXCLUSIVE = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 7))"


def delete_if_unreferenced(sha256: str) -> bool:
    """Delete an object unless an instance refers to it; decided under the lock that accepts its hash."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCK_EXCLUSIVE, (sha256,))
        if find_referenced([sha256]):
            return False
        store().delete(object_key(sha256))
    return True


def find_referenced(hashes: list[str]) -> set[str]:
    """Return those hashes that are the content of an instance."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sha256 FROM archive_instance WHERE sha256 = ANY(%s)", (hashes,))
        return {sha256 for (sha256,) in cursor.fetchall()}


def collect_files(min_age: float = MIN_AGE) -> int:
    """Remove spool files and interrupted uploads of this machine that are older than any transfer; return how many."""
    removed = 0
    oldest = time.time() - min_age
    folders = ((settings.SPOOL_FOLDER, oldest), (settings.FORM_FOLDER, oldest))
    for folder, limit in (*folders, (settings.UPLOAD_FOLDER, oldest - RESUMABLE)):
        removed += sum(remove_if_older(path, limit) for path in (folder.iterdir() if folder.is_dir() else ()))
    return removed


def remove_if_older(path: Path, limit: float) -> bool:
    """Remove a file that was last written before a time."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_mtime < limit:
            path.unlink()
            return True
    return False


def collect_orphans(prefixes: Iterable[int] = range(PREFIXES), min_age: float = MIN_AGE) -> int:
    """Delete objects without an instance under the given prefixes (0 to 255); return how many.

    A crash between storing an object and committing its row leaves an orphan. The janitor looks at one prefix a round,
    so that a round stays short in an archive of any size.
    """
    oldest, removed = time.time() - min_age, 0
    for prefix in prefixes:
        keys = store().iter_keys(f"objects/{prefix:02x}")
        old = (key.rpartition("/")[2] for key, written in keys if written < oldest)
        while hashes := list(islice(old, BATCH)):
            orphans = set(hashes) - find_referenced(hashes)
            removed += sum(delete_if_unreferenced(sha256) for sha256 in orphans)
    if removed:
        log.info("removed %d orphaned objects", removed)
    return removed
