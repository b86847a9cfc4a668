"""Remove previews and files of runs that no result refers to: a crash, a lost lease or an erasure left them."""

import logging
import re
import shutil
import time
from collections.abc import Callable, Iterable
from itertools import islice

from django.conf import settings

from analysis.models import Result, Run
from archive.garbage import BATCH, MIN_AGE
from archive.object_store import store
from jobs.models import Job

log = logging.getLogger("section5.garbage")

PREVIEW_PREFIXES = 1000


def collect_previews(prefixes: Iterable[int] = range(PREVIEW_PREFIXES), min_age: float = MIN_AGE) -> int:
    """Delete previews and files of runs without a result under the given prefixes (0 to 999); return how many.

    A key has the fencing token of its attempt. When that is no longer the latest of a running job, it can never get a
    result, and is deleted without a lock, whatever the clocks say.
    """
    removed = 0
    for prefix in prefixes:
        removed += collect(f"previews/{prefix:03}", "analysis", find_previews, min_age)
        removed += collect(f"results/{prefix:03}", "target", find_run_files, min_age)
    if removed:
        log.info("removed %d orphaned previews and files of runs", removed)
    return removed


def collect(prefix: str, kind: str, find_kept: Callable[[set[int]], set[str]], min_age: float) -> int:
    """Delete old objects under a prefix unless rows refer to them or their job may still write such a row.

    Their names begin with the subject of the job and its fencing token.
    """
    oldest, removed = time.time() - min_age, 0
    old = (key for key, written in store().iter_keys(prefix) if written < oldest)
    while keys := list(islice(old, BATCH)):
        attempts = {key: tuple(map(int, re.findall(r"\d+", key.rpartition("/")[2])[:2])) for key in keys}
        subjects = {subject for subject, *_ in attempts.values()}
        running = find_running(kind, subjects)  # before the results: what ends in between has its result
        kept = find_kept(subjects)
        for key in keys:
            if key not in kept and attempts[key] not in running:
                store().delete(key)
                removed += 1
    return removed


def find_running(kind: str, subjects: set[int]) -> set[tuple[int, ...]]:
    """Return subjects and fencing tokens of the running jobs of a kind."""
    running = Job.objects.filter(kind=kind, subject__in=subjects, state=Job.State.RUNNING)
    return set(running.values_list("subject", "fencing_token"))


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
