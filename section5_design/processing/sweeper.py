"""Rings again for what is due, takes back what was lost, and sweeps up what nobody acknowledged."""

import logging
import threading
import time

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from archive.object_store import store
from config.celery import QUEUES
from processing.bell import ring, room
from processing.claiming import due, recover_lost
from processing.partitions import make_partitions

log = logging.getLogger("section5.sweeper")

EVERY = 1.0  # seconds
RARELY = 60.0  # seconds; what need not be quick
LEFT_BEHIND = 3600.0  # seconds; an upload takes less


def sweep() -> int:
    """One round; how many jobs were rung for."""
    close_old_connections()
    lost = recover_lost()
    if lost:
        log.warning("%d jobs were taken back: their processes ended without a word", lost)
    rung = 0
    for queue in QUEUES:
        for job_id in due(queue, room(queue)):
            ring(job_id, queue)
            rung += 1
    return rung


def sweep_up(older_than: float = LEFT_BEHIND) -> int:
    """Remove spooled files and objects without a row that are older than any upload; how many."""
    removed = 0
    before = time.time() - older_than
    if settings.SPOOL_FOLDER.is_dir():
        for path in settings.SPOOL_FOLDER.iterdir():
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
                removed += 1
    for key, written in store().names("objects"):
        if written < before and not is_referenced(key.rpartition("/")[2]):
            store().delete(key)
            removed += 1
    if removed:
        log.info("%d files that nobody acknowledged were removed", removed)
    return removed


def is_referenced(sha256: str) -> bool:
    """Whether an instance has this content."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM archive_instance WHERE sha256 = %s)", (sha256,))
        return bool(cursor.fetchone()[0])


def run(stop: threading.Event) -> None:
    """Sweep until told to stop; a database that is away is waited for."""
    rare = 0.0
    while not stop.wait(EVERY):
        try:
            sweep()
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
