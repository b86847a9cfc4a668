"""The queue: jobs are claimed, finished and failed by compare-and-set on (state, fencing token).

queued --claim--> running --finish--> done
^                 |---fail-------> queued (retry later) or quarantined
|                 |---release----> queued (not started)
|                 '---postpone---> queued (a resource is in use)
'----requeue, schedule------ done or quarantined

A running job that is scheduled again runs once more when it ends, so that its last attempt began after the change that
it was scheduled for.
"""

import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction

from audit.events import NOTHING, Subject, record_event, record_events
from core import metrics
from core.correlation import correlation_id

log = logging.getLogger("section5.jobs")

QUEUES = ("small", "large", "gpu")
BACKOFF = 2.0  # seconds before the second attempt; doubled with each
MAX_BACKOFF = 300.0
attempts_by_kind: dict[str, int] = {}  # for kinds that get more than MAX_ATTEMPTS; set with their handlers
LOST = "the worker process died, or the job took longer than its lease"

# A job that was attempted before runs alone: if it kills its process, it takes no other job with it.
CLAIM = """
    WITH due AS (
        SELECT id, attempts, priority FROM jobs_job
        WHERE state = 'queued' AND queue = %(queue)s AND next_run_at <= now()
        ORDER BY priority DESC, next_run_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ), alone AS (
        SELECT id FROM due WHERE attempts > 0 OR (SELECT max(priority) FROM due) < 0 LIMIT 1
    ), chosen AS (
        SELECT id FROM alone UNION ALL SELECT id FROM due WHERE priority >= 0 AND NOT EXISTS (SELECT FROM alone)
    )
    UPDATE jobs_job AS job
    SET state = 'running', fencing_token = fencing_token + 1, attempts = attempts + 1, worker = %(worker)s,
        lease_until = now() + make_interval(secs => %(lease)s), rerun_at = NULL
    FROM chosen WHERE job.id = chosen.id
    RETURNING job.id, kind, subject, fencing_token, attempts, now(), worker, audit_subject, correlation_id
"""


SCHEDULE = """
    INSERT INTO jobs_job AS job (kind, subject, queue, priority, state, attempts, fencing_token, worker, reason,
        correlation_id, audit_subject, next_run_at)
    SELECT %(kind)s, subject, queue, priority, 'queued', 0, 0, '', '', %(correlation_id)s, audit_subject,
        now() + make_interval(secs => delay)
    FROM jsonb_to_recordset(%(jobs)s)
        AS new (subject bigint, queue text, priority integer, delay double precision, audit_subject jsonb)
    ORDER BY subject
    ON CONFLICT (subject, kind) DO UPDATE SET
        queue = excluded.queue,
        priority = CASE job.state WHEN 'queued' THEN greatest(job.priority, excluded.priority)
            ELSE excluded.priority END,
        state = CASE job.state WHEN 'running' THEN 'running' ELSE 'queued' END,
        attempts = CASE job.state WHEN 'running' THEN job.attempts ELSE 0 END,
        next_run_at = CASE job.state WHEN 'running' THEN job.next_run_at ELSE excluded.next_run_at END,
        rerun_at = CASE job.state WHEN 'running' THEN excluded.next_run_at END
"""


@dataclass(frozen=True)
class NewJob:
    """A job to schedule."""

    subject: int
    queue: str = "small"
    priority: int = 0  # the highest runs first
    delay: float = 0  # seconds
    audit_subject: Subject = NOTHING


@dataclass(frozen=True)
class Lease:
    """The right to finish a job, valid until somebody else claims it."""

    job_id: int
    kind: str
    subject: int
    fencing_token: int
    attempts: int
    started_at: datetime
    worker: str
    audit_subject: str = "{}"  # JSON: the fields of audit.events.Subject
    correlation_id: str = ""


def max_attempts(kind: str) -> int:
    """Return how often a job of a kind is attempted."""
    return attempts_by_kind.get(kind, settings.MAX_ATTEMPTS)


def parse_subject(document: str) -> Subject:
    """Parse what the audit events of a job are about."""
    return Subject(**orjson.loads(document))


def schedule(kind: str, jobs: Sequence[NewJob]) -> None:
    """Queue jobs, in the caller's transaction.

    A job that exists is queued again, or its time is moved if it is queued; a running one runs once more when it ends.
    """
    values = {"kind": kind, "correlation_id": correlation_id.get(), "jobs": orjson.dumps(jobs).decode()}
    with connection.cursor() as cursor:
        cursor.execute(SCHEDULE, values)


def claim(queue: str, limit: int, worker: str) -> list[Lease]:
    """Claim up to `limit` due jobs of a queue, the highest priority and the longest due first.

    A job that was attempted before is claimed alone, as it may take others with it; so is one of a priority below 0, as
    what arrives meanwhile would wait for all of them.
    """
    values = {"queue": queue, "limit": limit, "worker": worker, "lease": settings.LEASE_SECONDS}
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, values)
        return sorted((Lease(*row) for row in cursor.fetchall()), key=lambda lease: lease.job_id)


def finish(leases: Sequence[Lease]) -> set[int]:
    """Finish jobs, in the caller's transaction, which also saves their results; the IDs of those still held.

    A job that somebody else has claimed since is not among them: its result must not be saved.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job AS job SET reason = '', lease_until = NULL, rerun_at = NULL,"
            " state = CASE WHEN rerun_at IS NULL THEN 'done' ELSE 'queued' END,"
            " attempts = CASE WHEN rerun_at IS NULL THEN attempts ELSE 0 END,"
            " next_run_at = coalesce(rerun_at, next_run_at)"
            " FROM unnest(%s::bigint[], %s::int[]) AS held (id, token)"
            " WHERE job.id = held.id AND state = 'running' AND fencing_token = held.token RETURNING job.id",
            ([lease.job_id for lease in leases], [lease.fencing_token for lease in leases]),
        )
        finished = {job for (job,) in cursor.fetchall()}
        _record_finished(cursor, [lease for lease in leases if lease.job_id in finished])
    return finished


def fail(lease: Lease, reason: str, *, retryable: bool) -> bool:
    """Retry a job later if that may help and attempts are left, else quarantine it; False if it is no longer held."""
    retry = retryable and lease.attempts < max_attempts(lease.kind)
    wait = min(MAX_BACKOFF, BACKOFF * 2 ** min(lease.attempts - 1, 16)) * random.uniform(0.5, 1.5)  # noqa: S311
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job SET reason = %s, lease_until = NULL, rerun_at = NULL,"
            " state = CASE WHEN %s OR rerun_at IS NOT NULL THEN 'queued' ELSE 'quarantined' END,"
            " attempts = CASE WHEN rerun_at IS NULL THEN attempts ELSE 0 END,"
            " next_run_at = coalesce(rerun_at, now() + make_interval(secs => %s))"
            " WHERE id = %s AND state = 'running' AND fencing_token = %s RETURNING state",
            (reason[:500], retry, wait, lease.job_id, lease.fencing_token),
        )
        row = cursor.fetchone()
        if row is None:
            return False
        outcome = "retry" if row[0] == "queued" else "quarantined"
        _record_attempt(cursor, lease, outcome, reason)
    metrics.attempts.labels(outcome).inc()
    log.warning("job %d, attempt %d: %s", lease.job_id, lease.attempts, reason)
    return True


def release(leases: Iterable[Lease]) -> None:
    """Return jobs that were claimed but not started; this does not count as an attempt."""
    with connection.cursor() as cursor:
        for lease in leases:
            cursor.execute(
                "UPDATE jobs_job SET state = 'queued', attempts = attempts - 1, lease_until = NULL"
                " WHERE id = %s AND state = 'running' AND fencing_token = %s",
                (lease.job_id, lease.fencing_token),
            )


def postpone(lease: Lease, seconds: float) -> None:
    """Return a job whose resource is in use; this does not count as an attempt."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job SET state = 'queued', attempts = attempts - 1, lease_until = NULL,"
            " next_run_at = now() + make_interval(secs => %s)"
            " WHERE id = %s AND state = 'running' AND fencing_token = %s",
            (seconds, lease.job_id, lease.fencing_token),
        )


def requeue(job_id: int, actor: str) -> bool:
    """Give a quarantined job all its attempts again, at a person's request."""
    return _decide(job_id, actor, "state = 'queued', attempts = 0, next_run_at = now()", "quarantined", "requeued", "")


def quarantine(job_id: int, actor: str) -> bool:
    """Quarantine a queued job, at a person's request."""
    return _decide(job_id, actor, "state = 'quarantined'", "queued", "quarantined", f"quarantined by {actor}")


def _decide(job_id: int, actor: str, change: str, from_state: str, event: str, reason: str) -> bool:
    """Change the state of a job at a person's request, with an audit event; False if it is not in `from_state`."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE jobs_job SET {change}, reason = coalesce(nullif(%s, ''), reason)"  # noqa: S608
            " WHERE id = %s AND state = %s RETURNING audit_subject",
            (reason[:500], job_id, from_state),
        )
        row = cursor.fetchone()
        if row:
            record_event(event, actor, reason, subject=parse_subject(row[0]), cursor=cursor)
    return row is not None


def requeue_expired(limit: int = 500) -> int:
    """Requeue or quarantine jobs whose lease expired: their process or machine died, or lost its connection."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "WITH lost AS (SELECT id FROM jobs_job WHERE state = 'running' AND lease_until < now()"
            " ORDER BY lease_until LIMIT %s FOR UPDATE SKIP LOCKED)"
            " UPDATE jobs_job AS job SET lease_until = NULL, next_run_at = now(), reason = %s,"
            " state = CASE WHEN attempts < coalesce((%s::jsonb ->> kind)::int, %s) THEN 'queued' ELSE 'quarantined' END"
            " FROM lost WHERE job.id = lost.id"
            " RETURNING job.id, kind, subject, fencing_token, attempts, now(), worker, audit_subject, correlation_id,"
            " state",
            (limit, LOST, orjson.dumps(attempts_by_kind).decode(), settings.MAX_ATTEMPTS),
        )
        rows = cursor.fetchall()
        for *values, state in rows:
            _record_attempt(cursor, Lease(*values), "lost" if state == "queued" else "quarantined", LOST)
    if rows:
        log.warning("%d jobs were requeued or quarantined: %s", len(rows), LOST)
    return len(rows)


def _record_attempt(cursor: Any, lease: Lease, outcome: str, reason: str) -> None:
    """Record an attempt and its audit event."""
    cursor.execute(
        "INSERT INTO jobs_attempt (job_id, fencing_token, started_at, worker, outcome, reason)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (lease.job_id, lease.fencing_token, lease.started_at, lease.worker, outcome, reason[:500]),
    )
    current = correlation_id.set(lease.correlation_id)
    record_event(outcome, lease.worker, reason, subject=parse_subject(lease.audit_subject), cursor=cursor)
    correlation_id.reset(current)


def _record_finished(cursor: Any, leases: Sequence[Lease]) -> None:
    """Record the attempts of finished jobs and their audit events, in one statement each."""
    if not leases:
        return
    columns = list(zip(*((one.job_id, one.fencing_token, one.started_at, one.worker) for one in leases), strict=True))
    cursor.execute(
        "INSERT INTO jobs_attempt (job_id, fencing_token, started_at, worker, outcome, reason)"
        " SELECT *, 'done', '' FROM unnest(%s::bigint[], %s::int[], %s::timestamptz[], %s::text[])",
        [list(column) for column in columns],
    )
    subjects = [(lease.worker, lease.correlation_id, parse_subject(lease.audit_subject)) for lease in leases]
    record_events("done", subjects, cursor=cursor)


def find_due_queues() -> list[str]:
    """Return the queues that have a due job."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s) AS name WHERE EXISTS"
            " (SELECT FROM jobs_job WHERE state = 'queued' AND queue = name AND next_run_at <= now())",
            (list(QUEUES),),
        )
        return [name for (name,) in cursor.fetchall()]


def delete_jobs(kind: str, subjects: list[int]) -> None:
    """Delete the jobs of erased subjects; a worker that holds one can no longer finish it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH gone AS (DELETE FROM jobs_job WHERE kind = %s AND subject = ANY(%s) RETURNING id)"
            " DELETE FROM jobs_attempt WHERE job_id IN (SELECT id FROM gone)",
            (kind, subjects),
        )


def mark_silent_workers() -> None:
    """Mark workers without a heartbeat for a minute as gone, and forget those gone for a day."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_worker SET state = 'gone' WHERE heartbeat_at < now() - interval '1 minute'")
        cursor.execute("DELETE FROM jobs_worker WHERE heartbeat_at < now() - interval '1 day'")
