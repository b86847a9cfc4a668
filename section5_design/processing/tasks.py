"""What a worker's process does when it is rung for."""

import logging
import os
import resource
import socket
import time
from pathlib import Path
from typing import BinaryIO

from celery.signals import worker_process_init
from django.conf import settings
from django.db import close_old_connections, connection
from django.utils.module_loading import import_string

from archive.object_store import object_key, open_object, preview_key, store
from archive.sealing import SealBrokenError
from archive.spool import StorageFullError, spooled
from config import metrics
from config.celery import app
from config.logs import trace
from processing import analysis
from processing.bell import ring
from processing.claiming import Claim, claim, finish, give_up
from processing.load import overloaded

log = logging.getLogger("section5.processing")

LONG = 1.0  # seconds


@worker_process_init.connect
def limit_memory(**_: object) -> None:
    """A process that wants more memory than it may have gets MemoryError, and not the machine."""
    size = settings.TASK_MEMORY_MB << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def worker_name() -> str:
    """The worker that this process belongs to."""
    return os.environ.get("WORKER_NAME") or f"{socket.gethostname()}:{os.getppid()}"


@app.task(name="process", ignore_result=True)
def process(jobs: list[int]) -> None:
    """Look at jobs, and work on each that is due while this machine has room. Safe to be run at any time, twice too."""
    close_old_connections()
    if pulse := os.environ.get("WORKER_PULSE"):
        Path(pulse).touch()  # the worker sees that messages arrive, also those that lead to nothing
    started = time.monotonic()
    for place, job_id in enumerate(jobs):
        if overloaded():
            return  # the jobs stay queued, and the sweeper rings again, here or elsewhere
        if time.monotonic() - started > LONG:
            ring(jobs[place:], "small")  # so that each has the time that a task may have
            return
        if held := claim(job_id, worker_name()):
            trace.set(held.trace)
            attempt(held)
            trace.set("")


def attempt(held: Claim) -> None:
    """Work, and say what failed."""
    with metrics.work_seconds.time():
        _attempt(held)


def _attempt(held: Claim) -> None:
    try:
        work(held)
        metrics.attempts.labels("done").inc()
    except MemoryError:
        give_up(held, f"needs more memory than a task may have ({settings.TASK_MEMORY_MB} MB)", can_pass=False)
    except analysis.UnprocessableError as error:
        give_up(held, str(error), can_pass=False)
    except SealBrokenError as error:
        metrics.broken_seals.inc()
        give_up(held, f"its object was altered: {error}", can_pass=False)
    except StorageFullError as error:
        give_up(held, str(error), can_pass=True)
    except OSError as error:
        give_up(held, f"{error.strerror or type(error).__name__}, while reading or writing", can_pass=True)


def work(held: Claim) -> None:
    """Read the instance, analyse it, keep the result."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sha256 FROM archive_instance WHERE id = %s", (held.instance_id,))
        (sha256,) = cursor.fetchone()
    with open_object(object_key(sha256)) as file:
        figures, picture = import_string(settings.ANALYSIS)(prepared(file))
    key = ""
    if picture:
        key = preview_key(held.instance_id, held.fence)
        keep(picture, key)
    if not finish(held, figures, key):
        log.warning("job %d: a late result of attempt %d was dropped", held.job_id, held.fence)
        if key:
            store().delete(key)


def prepared(file: BinaryIO) -> BinaryIO:
    """What the analysis may see: de-identified, where the site wants it."""
    if not settings.DEIDENTIFY:
        return file
    from processing.deidentification import deidentified

    return deidentified(file)


def keep(content: bytes, key: str) -> None:
    """Put a small object into the store, sealed as all are."""
    with spooled() as file:
        file.write(content)
        file.make_safe()
        store().put(file.path, key)
