"""Remove previews and files of runs that no result refers to: a crash, a lost lease or an erasure left them."""

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from itertools import islice

from django.conf import settings

from analysis.models import Result, Run
from archive.garbage import BATCH, MIN_AGE
from archive.object_store import store

log = logging.getLogger("section5.garbage")

PREVIEW_PREFIXES = 1000


def collect_previews(prefixes: Iterable[int] = range(PREVIEW_PREFIXES), min_age: float = MIN_AGE) -> int:
    """Delete previews and files of runs without a result under the given prefixes (0 to 999); return how many.

    A key has the fencing token of its attempt, so that no later attempt writes it again: one that is older than every
    lease can be deleted without a lock.
    """
    removed = 0
    for prefix in prefixes:
        removed += collect(f"previews/{prefix:03}", find_previews, min_age)
        removed += collect(f"results/{prefix:03}", find_run_files, min_age)
    if removed:
        log.info("removed %d orphaned previews and files of runs", removed)
    return removed


def collect(prefix: str, find_kept: Callable[[set[int]], set[str]], min_age: float) -> int:
    """Delete old objects under a prefix unless rows refer to them; their names begin with the ID of such a row."""
    oldest, removed = time.time() - min_age, 0
    old = (key for key, written in store().iter_keys(prefix) if written < oldest)
    while keys := list(islice(old, BATCH)):
        kept = find_kept({int(key.rpartition("/")[2].partition("-")[0]) for key in keys})
        for key in set(keys) - kept:
            store().delete(key)
            removed += 1
    return removed


def find_previews(instance_ids: set[int]) -> set[str]:
    """Return the keys of the previews of instances."""
    return set(Result.history.filter(instance__in=instance_ids).values_list("preview", flat=True))


def find_run_files(target_ids: set[int]) -> set[str]:
    """Return the keys of the files of targets' runs."""
    runs = Run.objects.filter(target__in=target_ids).values_list("files", flat=True)
    return {file["key"] for files in runs for file in files}


def collect_work_folders(min_age: float = MIN_AGE) -> None:
    """Delete folders of decrypted files whose process was killed; a job takes less time."""
    folders = settings.WORK_FOLDER.iterdir() if settings.WORK_FOLDER.is_dir() else ()
    for folder in folders:
        if folder.stat().st_mtime < time.time() - min_age:
            shutil.rmtree(folder, ignore_errors=True)
