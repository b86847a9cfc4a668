"""Remove previews and files of runs that no result refers to: a crash, a lost lease or an erasure left them."""

import logging
import shutil
import time
from collections.abc import Iterable
from itertools import islice

from django.conf import settings
from django.db import connection

from archive.garbage import BATCH, MIN_AGE
from archive.object_store import store

log = logging.getLogger("section5.garbage")

PREVIEW_PREFIXES = 1000

PREVIEWS = """
    SELECT instance_id, fencing_token FROM analysis_result WHERE instance_id = ANY(%(ids)s)
    UNION ALL SELECT instance_id, fencing_token FROM analysis_job WHERE state = 'running' AND instance_id = ANY(%(ids)s)
"""
RUN_FILES = """
    SELECT target_id, fencing_token FROM analysis_run WHERE target_id = ANY(%(ids)s)
    UNION ALL SELECT subject, fencing_token FROM jobs_job
    WHERE kind = 'target' AND state = 'running' AND subject = ANY(%(ids)s)
"""


def collect_previews(prefixes: Iterable[int] = range(PREVIEW_PREFIXES), min_age: float = MIN_AGE) -> int:
    """Delete previews and files of runs without a result under the given prefixes (0 to 999); return how many.

    A key has the fencing token of its attempt. Unless it is the current one of a running job,
    the file can never get a result, and is deleted without a lock, whatever the clocks say.
    """
    removed = 0
    for prefix in prefixes:
        removed += collect(f"previews/{prefix:03}", PREVIEWS, min_age)
        removed += collect(f"results/{prefix:03}", RUN_FILES, min_age)
    if removed:
        log.info("removed %d orphaned previews and files of runs", removed)
    return removed


def collect(prefix: str, statement: str, min_age: float) -> int:
    """Delete old objects under a prefix unless a statement names their attempts."""
    oldest, removed = time.time() - min_age, 0
    old = (key for key, written in store().iter_keys(prefix) if written < oldest)
    while keys := list(islice(old, BATCH)):
        attempts = {key: parse_attempt(key) for key in keys}
        needed = find_attempts(statement, [row for row, _ in attempts.values()])
        for key in [key for key in keys if attempts[key] not in needed]:
            store().delete(key)
            removed += 1
    return removed


def parse_attempt(key: str) -> tuple[int, int]:
    """Return the ID and the fencing token with which an object's name begins."""
    row, token = key.rpartition("/")[2].partition(".")[0].split("-")[:2]
    return int(row), int(token)


def find_attempts(statement: str, ids: list[int]) -> set[tuple[int, int]]:
    """Return the attempts that have a result or may still get one; of one moment, so by one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, {"ids": ids})
        return set(cursor.fetchall())


def collect_work_folders(min_age: float = MIN_AGE) -> None:
    """Delete folders of decrypted files whose process was killed; a job takes less time."""
    folders = settings.WORK_FOLDER.iterdir() if settings.WORK_FOLDER.is_dir() else ()
    for folder in folders:
        if folder.stat().st_mtime < time.time() - min_age:
            shutil.rmtree(folder, ignore_errors=True)
