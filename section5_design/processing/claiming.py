"""Who works on a job: claimed, ended and given up by compare-and-set on (state, fence), each in one transaction.

queued --claim--> running --finish--> done
^                 |---give_up----> queued (try again later) or quarantined
'----requeue------'
"""

import logging
import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction

from audit.log import write_event
from config import metrics

log = logging.getLogger("section5.processing")

BACKOFF = 2.0  # seconds before the second try; doubled with each
LONGEST_BACKOFF = 300.0

CLAIM = """
    UPDATE processing_job
    SET state = 'running', fence = fence + 1, attempts = attempts + 1, worker = %(worker)s,
        lease_until = now() + make_interval(secs => %(lease)s)
    WHERE id = %(job)s AND state = 'queued' AND next_run_at <= now()
    RETURNING instance_id, fence, attempts, now(), (SELECT trace FROM archive_instance WHERE id = instance_id)
"""


@dataclass(frozen=True)
class Claim:
    """The right to end a job, for as long as nobody else has claimed it."""

    job_id: int
    instance_id: int
    fence: int
    attempts: int
    started_at: datetime
    worker: str
    trace: str = ""  # of what brought the instance


def claim(job_id: int, worker: str) -> Claim | None:
    """Take a job that is due; None where another has it, or it is done, or not due yet."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"job": job_id, "worker": worker, "lease": settings.LEASE_SECONDS})
        row = cursor.fetchone()
    if row is None:
        return None
    instance_id, fence, attempts, started_at, brought_by = row
    return Claim(job_id, instance_id, fence, attempts, started_at, worker, brought_by)


def finish(held: Claim, figures: dict[str, Any], preview: str) -> bool:
    """Write the result; False, and nothing is written, where somebody else has claimed the job since."""
    with transaction.atomic(), connection.cursor() as cursor:
        if not _leave(cursor, held, "done", "", 0):
            return False
        cursor.execute(
            "INSERT INTO processing_result (instance_id, fence, figures, preview) VALUES (%s, %s, %s, %s)",
            (held.instance_id, held.fence, orjson.dumps(figures, option=orjson.OPT_SERIALIZE_NUMPY).decode(), preview),
        )
        _note(cursor, held, "done", "")
    return True


def give_up(held: Claim, reason: str, *, can_pass: bool) -> bool:
    """Try again later where that may help and tries are left, else put aside for a person; False as in `finish`."""
    again = can_pass and held.attempts < settings.MAX_ATTEMPTS
    wait = min(LONGEST_BACKOFF, BACKOFF * 2 ** (held.attempts - 1)) * random.uniform(0.5, 1.5)  # noqa: S311
    with transaction.atomic(), connection.cursor() as cursor:
        if not _leave(cursor, held, "queued" if again else "quarantined", reason, wait):
            return False
        _note(cursor, held, "retry" if again else "quarantined", reason)
    metrics.attempts.labels("retry" if again else "quarantined").inc()
    log.warning("job %d, attempt %d: %s", held.job_id, held.attempts, reason)
    return True


def _leave(cursor: Any, held: Claim, state: str, reason: str, wait: float) -> bool:
    cursor.execute(
        "UPDATE processing_job SET state = %s, reason = %s, lease_until = NULL, rung_at = NULL,"
        " next_run_at = now() + make_interval(secs => %s) WHERE id = %s AND state = 'running' AND fence = %s",
        (state, reason[:500], wait, held.job_id, held.fence),
    )
    return bool(cursor.rowcount)


def _note(cursor: Any, held: Claim, outcome: str, reason: str) -> None:
    cursor.execute(
        "INSERT INTO processing_attempt (job_id, fence, started_at, worker, outcome, reason)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (held.job_id, held.fence, held.started_at, held.worker, outcome, reason[:500]),
    )
    write_event(cursor, outcome, held.instance_id, held.worker, reason)


def requeue(job_id: int, actor: str) -> bool:
    """Give a quarantined job another round of tries, as a person decided."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE processing_job SET state = 'queued', attempts = 0, next_run_at = now(), rung_at = NULL"
            " WHERE id = %s AND state = 'quarantined' RETURNING instance_id",
            (job_id,),
        )
        row = cursor.fetchone()
        if row:
            write_event(cursor, "requeued", row[0], actor, "")
    return row is not None


def quarantine(job_id: int, actor: str) -> bool:
    """Set a job aside that waits, as a person decided."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE processing_job SET state = 'quarantined', reason = %s"
            " WHERE id = %s AND state = 'queued' RETURNING instance_id",
            (f"set aside by {actor}"[:500], job_id),
        )
        row = cursor.fetchone()
        if row:
            write_event(cursor, "quarantined", row[0], actor, "by hand")
    return row is not None


def unaccounted() -> list[int]:
    """Instances that have not exactly one job, or not one result where that is done and none where it is not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.id FROM archive_instance AS i LEFT JOIN processing_job AS j ON j.instance_id = i.id"
            " LEFT JOIN processing_result AS r ON r.instance_id = i.id GROUP BY i.id, j.state HAVING"
            " count(DISTINCT j.id) <> 1 OR count(r.instance_id) <> (CASE WHEN j.state = 'done' THEN 1 ELSE 0 END)"
            " ORDER BY i.id"
        )
        return [instance for (instance,) in cursor.fetchall()]


def recover_lost(limit: int = 500) -> int:
    """Take back jobs whose lease ended: their process was killed, or its machine, or the line to it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "WITH lost AS (SELECT id, worker, instance_id, fence FROM processing_job"
            " WHERE state = 'running' AND lease_until < now() ORDER BY lease_until LIMIT %s FOR UPDATE SKIP LOCKED)"
            " UPDATE processing_job AS job SET lease_until = NULL, rung_at = NULL, next_run_at = now(),"
            " state = CASE WHEN attempts < %s THEN 'queued' ELSE 'quarantined' END,"
            " reason = 'its process ended without a word, or took longer than its lease'"
            " FROM lost WHERE job.id = lost.id"
            " RETURNING job.id, job.instance_id, job.fence, job.state, job.worker, job.reason",
            (limit, settings.MAX_ATTEMPTS),
        )
        rows = cursor.fetchall()
        for job_id, instance_id, fence, state, worker, reason in rows:
            outcome = "lost" if state == "queued" else "quarantined"
            cursor.execute(
                "INSERT INTO processing_attempt (job_id, fence, started_at, worker, outcome, reason)"
                " VALUES (%s, %s, now(), %s, %s, %s)",
                (job_id, fence, worker, outcome, reason),
            )
            write_event(cursor, outcome, instance_id, worker, reason)
    return len(rows)


def due(queue: str, limit: int, quiet: float = 10.0) -> list[int]:
    """Jobs of a queue that should be worked on, and of which no worker was told for a while; the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE processing_job SET rung_at = now() WHERE id IN (SELECT id FROM processing_job"
            " WHERE state = 'queued' AND queue = %s AND next_run_at <= now()"
            " AND (rung_at IS NULL OR rung_at < now() - make_interval(secs => %s))"
            " ORDER BY next_run_at LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id",
            (queue, quiet, limit),
        )
        return [job for (job,) in cursor.fetchall()]
