"""Remove previews that no result refers to: a crash, a lost lease or an erasure left them."""

import logging
import time
from collections.abc import Iterable
from itertools import islice

from django.db import connection

from archive.garbage import BATCH, MIN_AGE
from archive.object_store import preview_key, store

log = logging.getLogger("section5.garbage")

PREVIEW_PREFIXES = 1000


def collect_previews(prefixes: Iterable[int] = range(PREVIEW_PREFIXES), min_age: float = MIN_AGE) -> int:
    """Delete previews without a result under the given prefixes (0 to 999); return how many.

    The key of a preview has the fencing token of its attempt. When that is no longer the current one of a running job,
    the preview can never get a result, and is deleted without a lock, whatever the clocks say.
    """
    oldest, removed = time.time() - min_age, 0
    for prefix in prefixes:
        old = (key for key, written in store().iter_keys(f"previews/{prefix:03}") if written < oldest)
        while keys := list(islice(old, BATCH)):
            for key in set(keys) - find_needed(keys):
                store().delete(key)
                removed += 1
    if removed:
        log.info("removed %d orphaned previews", removed)
    return removed


def find_needed(keys: list[str]) -> set[str]:
    """Return the keys of previews that have a result or may still get one; of one moment, so in one statement."""
    ids = [int(key.rpartition("/")[2].partition("-")[0]) for key in keys]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT instance_id, fencing_token FROM analysis_result WHERE instance_id = ANY(%s)"
            " UNION ALL SELECT instance_id, fencing_token FROM analysis_job WHERE state = 'running'"
            " AND instance_id = ANY(%s)",
            (ids, ids),
        )
        return {preview_key(instance, token) for instance, token in cursor.fetchall()}
