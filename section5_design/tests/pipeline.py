"""From storing an instance to the end of its jobs, in this process: without web, receiver, worker and maintenance."""

from typing import Any

from django.db import connection

from archive.arrivals import announce_arrivals
from ingest.incoming import incoming_file
from ingest.store import Sender, Stored, store_instance
from jobs import tasks
from system import instance

QUEUES = ("small", "large", "gpu")


def send(content: bytes, source: str = "folder:test") -> Stored:
    """Store a file."""
    with incoming_file() as file:
        file.write(content)
        return store_instance(file, Sender(source))


def send_series(count: int, name: str = "CT_small.dcm", **changes: Any) -> list[Stored]:
    """Store a number of images of one series."""
    return [send(instance(name, InstanceNumber=number, **changes)[1]) for number in range(1, count + 1)]


def announce() -> None:
    while announce_arrivals():
        pass


def run_due() -> int:
    """Run the jobs that are due; how many."""
    return sum(iter(lambda: sum(tasks.run_batch(queue, float("inf")) for queue in QUEUES), 0))


def run_jobs() -> None:
    """Announce what was stored and run every job, also those whose time has not come."""
    announce()
    while make_due():
        run_due()
        announce()


def make_due() -> int:
    """End every quiet period and every back-off; how many jobs are due."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_job SET next_run_at = now() WHERE state = 'queued'")
        return int(cursor.rowcount)


def query(statement: str, *values: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
