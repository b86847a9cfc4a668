"""Remove previews that no result refers to: a crash, a lost lease or an erasure left them."""

import logging
import time
from collections.abc import Iterable
from itertools import islice

from analysis.models import Result
from archive.garbage import BATCH, MIN_AGE
from archive.object_store import store

log = logging.getLogger("section5.garbage")

PREVIEW_PREFIXES = 1000


def collect_previews(prefixes: Iterable[int] = range(PREVIEW_PREFIXES), min_age: float = MIN_AGE) -> int:
    """Delete previews without a result under the given prefixes (0 to 999); return how many.

    The key of a preview has the fencing token of its attempt, so that no later attempt writes it again: one that is
    older than every lease can be deleted without a lock.
    """
    oldest, removed = time.time() - min_age, 0
    for prefix in prefixes:
        old = (key for key, written in store().iter_keys(f"previews/{prefix:03}") if written < oldest)
        while keys := list(islice(old, BATCH)):
            ids = {int(key.rpartition("/")[2].partition("-")[0]) for key in keys}
            kept = set(Result.objects.filter(instance__in=ids).values_list("preview", flat=True))
            for key in set(keys) - kept:
                store().delete(key)
                removed += 1
    if removed:
        log.info("removed %d orphaned previews", removed)
    return removed
