"""What a worker's process does when it is rung for."""

import logging
import os
import resource
import socket
import tempfile
import time
from pathlib import Path

from celery.signals import worker_process_init
from django.conf import settings
from django.db import close_old_connections, connection
from django.utils.module_loading import import_string

from archive.object_store import object_key, preview_key, store
from config.celery import app
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
            attempt(held)


def attempt(held: Claim) -> None:
    """Work, and say what failed."""
    try:
        work(held)
    except MemoryError:
        give_up(held, f"needs more memory than a task may have ({settings.TASK_MEMORY_MB} MB)", can_pass=False)
    except analysis.UnprocessableError as error:
        give_up(held, str(error), can_pass=False)
    except OSError as error:
        give_up(held, f"{error.strerror or type(error).__name__}, while reading or writing", can_pass=True)


def work(held: Claim) -> None:
    """Read the instance, analyse it, keep the result."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sha256 FROM archive_instance WHERE id = %s", (held.instance_id,))
        (sha256,) = cursor.fetchone()
    with store().open(object_key(sha256)) as file:
        figures, picture = import_string(settings.ANALYSIS)(file)
    key = ""
    if picture:
        key = preview_key(held.instance_id, held.fence)
        keep(picture, key)
    if not finish(held, figures, key):
        log.warning("job %d: a late result of attempt %d was dropped", held.job_id, held.fence)
        if key:
            store().delete(key)


def keep(content: bytes, key: str) -> None:
    """Put a small object into the store."""
    settings.SPOOL_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=settings.SPOOL_FOLDER, delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    store().put(Path(file.name), key)
