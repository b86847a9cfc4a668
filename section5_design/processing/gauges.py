"""What the database and the disk tell Prometheus: depth and age of queues, workers, sizes. The sweeper serves it."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import Error, connection
from prometheus_client.core import GaugeMetricFamily, Metric

from config.celery import QUEUES
from processing.bell import depth

JOBS = """
    SELECT queue, state, count(*) FROM processing_job WHERE state IN ('queued', 'running') GROUP BY queue, state
    UNION ALL SELECT queue, state, count(*) FROM processing_job WHERE state = 'quarantined' GROUP BY queue, state
"""
OLDEST = """
    SELECT queue, greatest(0, extract(epoch FROM now() - min(next_run_at))) FROM processing_job
    WHERE state = 'queued' GROUP BY queue
"""
WORKERS = "SELECT CASE WHEN beat_at < now() - interval '15 seconds' THEN 'silent' ELSE state END, count(*) "
WORKERS += "FROM processing_worker WHERE state <> 'gone' GROUP BY 1"
UNLINKED = (
    "SELECT (SELECT coalesce(max(id), 0) FROM processing_event) - (SELECT coalesce(max(event_id), 0) FROM audit_link)"
)


class Gauges:
    """Asked anew with each scrape."""

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        up = GaugeMetricFamily("dicom_database_up", "Whether the database answers")
        try:
            found = list(self._from_database())
            up.add_metric([], 1)
        except Error:
            found = []
            up.add_metric([], 0)
        finally:
            connection.close()
        yield up
        yield from found
        messages = GaugeMetricFamily("dicom_messages", "Messages that wait at the broker", labels=["queue"])
        for queue in QUEUES:
            with contextlib.suppress(Exception):  # whatever a broker's client raises: then there is no figure
                messages.add_metric([queue], depth(queue))
        yield messages
        free = GaugeMetricFamily("dicom_free_bytes", "Room on the disk of DATA_FOLDER")
        with contextlib.suppress(OSError):
            free.add_metric([], shutil.disk_usage(settings.DATA_FOLDER).free)
        yield free

    def _from_database(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("dicom_jobs", "Jobs that wait, run, are set aside", labels=["queue", "state"])
        for queue in QUEUES:
            jobs.add_metric([queue, "queued"], 0)
        for queue, state, count in _ask(JOBS):
            jobs.add_metric([queue, state], count)
        yield jobs
        oldest = GaugeMetricFamily("dicom_oldest_job_seconds", "How long the oldest has waited", labels=["queue"])
        waited = dict(_ask(OLDEST))
        for queue in QUEUES:
            oldest.add_metric([queue], float(waited.get(queue, 0)))
        yield oldest
        workers = GaugeMetricFamily("dicom_workers", "Workers by state", labels=["state"])
        for state, count in _ask(WORKERS):
            workers.add_metric([state], count)
        yield workers
        for name, told, statement in (
            ("dicom_database_bytes", "Size of the database", "SELECT pg_database_size(current_database())"),
            ("dicom_log_unlinked", "Lines of the log behind the chain", UNLINKED),
        ):
            yield GaugeMetricFamily(name, told, value=float(_ask(statement)[0][0]))


def _ask(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
