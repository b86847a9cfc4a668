"""Rings again for what is due, takes back what was lost, and sweeps up what nobody acknowledged."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from archive.object_store import store
from config.celery import QUEUES
from health import pulse
from processing.bell import BATCH, ring_each, room
from processing.claiming import due, recover_lost
from processing.partitions import make_partitions

log = logging.getLogger("section5.sweeper")

EVERY = 1.0  # seconds
RARELY = 600.0  # seconds; what need not be quick
LEFT_BEHIND = 3600.0  # seconds; an upload takes less
LOOKS = ["seen", "queried", "exported", "login", "logout", "login failed", "audit"]  # which change no page
RESUMABLE = 48 * 3600.0  # seconds more, for uploads that somebody may go on with


def sweep() -> int:
    """One round; how many jobs were rung for."""
    close_old_connections()
    lost = recover_lost()
    if lost:
        log.warning("%d jobs were taken back: their processes ended without a word", lost)
    rung = 0
    for queue in QUEUES:
        jobs = due(queue, room(queue) * BATCH[queue])
        ring_each([(job, queue) for job in jobs])
        rung += len(jobs)
    return rung


def sweep_up(older_than: float = LEFT_BEHIND) -> int:
    """Remove spooled files and objects without a row that are older than any upload; how many."""
    removed = 0
    before = time.time() - older_than
    for folder, oldest in ((settings.SPOOL_FOLDER, before), (settings.ARRIVING_FOLDER, before - RESUMABLE)):
        for path in folder.iterdir() if folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
    old = (key for key, written in store().names("objects") if written < before)
    while keys := {key.rpartition("/")[2]: key for key in islice(old, 1000)}:
        for sha256 in set(keys) - referenced(list(keys)):
            store().delete(keys[sha256])
            removed += 1
    if removed:
        log.info("%d files that nobody acknowledged were removed", removed)
    return removed


def referenced(hashes: list[str]) -> set[str]:
    """Those that are the content of an instance."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sha256 FROM archive_instance WHERE sha256 = ANY(%s)", (hashes,))
        return {sha256 for (sha256,) in cursor.fetchall()}


def tell_of_changes(told: int) -> int:
    """Tell the pages that somebody looks at, once a round however much has changed; the last event told of."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(max(id), %s) FROM processing_event WHERE id > %s AND kind <> ALL(%s)", (told, told, LOOKS)
        )
        (last,) = cursor.fetchone()
        if last != told:
            cursor.execute("NOTIFY changes")
    return int(last)


def run(stop: threading.Event, chores: Sequence[Callable[[], object]] = ()) -> None:
    """Sweep until told to stop, with what other parts want done each round; a database that is away is waited for."""
    rare, told = -RARELY, 0
    while not stop.wait(EVERY):
        try:
            sweep()
            told = tell_of_changes(told)
            for chore in chores:
                chore()
            pulse()
            if time.monotonic() - rare > RARELY:
                make_partitions()
                sweep_up()
                forget_workers()
                rare = time.monotonic()
        except (DatabaseError, InterfaceError) as error:
            log.warning("the database does not answer (%s)", type(error).__name__)
            connection.close()


def forget_workers() -> None:
    """Workers that have not been heard of are gone."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE processing_worker SET state = 'gone' WHERE beat_at < now() - interval '1 minute'")
