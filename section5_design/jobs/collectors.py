"""Prometheus metrics from the database and the disk: queue depth and delay, workers, sizes; read at each scrape."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import Error, connection
from prometheus_client.core import GaugeMetricFamily, Metric

from audit.chain import count_unlinked
from jobs.queue import QUEUES

JOBS = """
    SELECT queue, state, count(*) FROM jobs_job WHERE state IN ('queued', 'running') GROUP BY queue, state
    UNION ALL SELECT queue, state, count(*) FROM jobs_job WHERE state = 'quarantined' GROUP BY queue, state
"""
OLDEST = """
    SELECT queue, greatest(0, extract(epoch FROM now() - min(next_run_at))) FROM jobs_job
    WHERE state = 'queued' GROUP BY queue
"""
WORKERS = "SELECT CASE WHEN heartbeat_at < now() - interval '15 seconds' THEN 'silent' ELSE state END, count(*) "
WORKERS += "FROM jobs_worker WHERE state <> 'gone' GROUP BY 1"


class SystemCollector:
    """Collects the state of the system."""

    def collect(self) -> Iterator[Metric]:
        """Collect the metrics."""
        up = GaugeMetricFamily("dicom_database_up", "Whether the database responds")
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
        free = GaugeMetricFamily("dicom_free_bytes", "Free space on the disk of DATA_FOLDER")
        with contextlib.suppress(OSError):
            free.add_metric([], shutil.disk_usage(settings.DATA_FOLDER).free)
        yield free

    def _from_database(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("dicom_jobs", "Jobs by state", labels=["queue", "state"])
        for queue in QUEUES:
            jobs.add_metric([queue, "queued"], 0)
        for queue, state, count in _ask(JOBS):
            jobs.add_metric([queue, state], count)
        yield jobs
        oldest = GaugeMetricFamily(
            "dicom_queue_delay_seconds", "How long the longest due job has been due", labels=["queue"]
        )
        waited = dict(_ask(OLDEST))
        for queue in QUEUES:
            oldest.add_metric([queue], float(waited.get(queue, 0)))
        yield oldest
        workers = GaugeMetricFamily("dicom_workers", "Workers by state", labels=["state"])
        for state, count in _ask(WORKERS):
            workers.add_metric([state], count)
        yield workers
        (size,) = _ask("SELECT pg_database_size(current_database())")
        yield GaugeMetricFamily("dicom_database_bytes", "Size of the database", value=float(size[0]))
        yield GaugeMetricFamily("dicom_audit_unlinked", "Audit events not yet chained", value=float(count_unlinked()))


def _ask(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
