"""What a worker process does when it is woken: claim due jobs, run them, save their results."""

import logging
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery.signals import worker_process_init
from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection, transaction

from config.celery import app
from core import metrics
from core.correlation import correlation_id
from core.outage import report_outage, report_recovery
from jobs.admission import overloaded
from jobs.dispatcher import send_wake_up
from jobs.handlers import JobError, PostponeError, end_batch, get_handler
from jobs.queue import Lease, claim, fail, finish, postpone, release

log = logging.getLogger("section5.jobs")

MAX_JOBS = {"small": 16, "large": 1, "gpu": 1}  # jobs in a claim
BATCH_SECONDS = 1.0  # a wake-up's work, after which the process takes the next message
SAVE_SECONDS = 0.25  # results wait no longer to be saved together; a crash costs those that wait another attempt
OVERLOAD_PAUSE = 10.0  # seconds that an overloaded process waits with its message before it drops it

_claim_size = 1  # doubled while claims are finished quickly, so that slow jobs are spread over the workers


@worker_process_init.connect
def limit_memory(**_: object) -> None:
    """Limit the memory of a worker process: a job that needs more gets a MemoryError, and the machine survives."""
    size = settings.TASK_MEMORY_LIMIT_MB << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@app.task(name="jobs.run", ignore_result=True)
def run_queue(queue: str) -> None:
    """Run due jobs of a queue for about a second, then wake the next process. Safe at any time, also twice at once."""
    close_old_connections()
    if heartbeat := os.environ.get("WORKER_HEARTBEAT"):
        Path(heartbeat).touch()  # the worker sees that messages arrive
    if not wait_for_capacity():
        return  # the dispatcher wakes somebody again
    until = time.monotonic() + min(BATCH_SECONDS, settings.TASK_SECONDS / 4)
    try:
        while time.monotonic() < until:
            claimed = run_batch(queue, until)
            report_recovery()
            if not claimed:
                return
    except (OperationalError, InterfaceError) as error:  # the dispatcher wakes somebody again; leases expire
        report_outage(error)
        connection.close()
        return
    send_wake_up(queue)


def wait_for_capacity() -> bool:
    """Hold a message while this machine is over its limits, so that it consumes no more; False if that takes long."""
    until = time.monotonic() + min(OVERLOAD_PAUSE, settings.TASK_SECONDS / 4)
    while overloaded():
        if time.monotonic() >= until:
            return False
        time.sleep(0.2)
    return True


def run_batch(queue: str, until: float) -> int:
    """Claim jobs, run them, and save their results together; return how many were claimed.

    Jobs that are not started in time are released.
    """
    global _claim_size
    started = time.monotonic()
    leases = claim(queue, min(_claim_size, MAX_JOBS[queue]), os.environ.get("WORKER_NAME", "worker"))
    saved, results = started, []
    try:
        for number, lease in enumerate(leases):
            if number and time.monotonic() >= until:
                release(leases[number:])
                break
            if (result := run_job(lease)) is not None:
                results.append((lease, result[0]))
            if time.monotonic() - saved >= SAVE_SECONDS:
                save_results(results)
                saved, results = time.monotonic(), []
        save_results(results)
    finally:
        end_batch()
    quick = time.monotonic() - started < BATCH_SECONDS / 4
    _claim_size = min(_claim_size * 2, max(MAX_JOBS.values())) if quick else 1
    return len(leases)


def run_job(lease: Lease) -> tuple[Any] | None:
    """Run a job; a tuple of its result, or None if it failed, which is recorded, or was postponed."""
    token = correlation_id.set(lease.correlation_id)
    try:
        with metrics.job_seconds.time():
            return (get_handler(lease.kind).run(lease),)
    except PostponeError as error:
        postpone(lease, error.seconds)
    except JobError as error:
        fail(lease, str(error), retryable=error.retryable)
    except MemoryError:
        reason = f"needs more memory than a job may use ({settings.TASK_MEMORY_LIMIT_MB} MB)"
        fail(lease, reason, retryable=False)
    except OSError as error:
        fail(lease, f"{error.strerror or type(error).__name__}, while reading or writing", retryable=True)
    finally:
        correlation_id.reset(token)
    return None


def save_results(results: list[tuple[Lease, Any]]) -> None:
    """Finish jobs and save their results in one transaction; discard those that came too late."""
    if not results:
        return
    try:
        with transaction.atomic():
            finished = finish([lease for lease, _ in results])
            for kind, saved in group_by_kind(results):
                get_handler(kind).save([(lease, result) for lease, result in saved if lease.job_id in finished])
    except OSError as error:  # a disk that cannot sync what the jobs wrote
        for lease, _ in results:
            fail(lease, f"{error.strerror or type(error).__name__}, while saving", retryable=True)
        return
    metrics.attempts.labels("done").inc(len(finished))
    for lease, result in results:
        if lease.job_id not in finished:
            log.warning("job %d: discarded a late result of attempt %d", lease.job_id, lease.fencing_token)
            get_handler(lease.kind).discard(lease, result)


def group_by_kind(results: list[tuple[Lease, Any]]) -> Iterator[tuple[str, list[tuple[Lease, Any]]]]:
    """Group results by the kind of their jobs."""
    for kind in {lease.kind for lease, _ in results}:
        yield kind, [(lease, result) for lease, result in results if lease.kind == kind]
