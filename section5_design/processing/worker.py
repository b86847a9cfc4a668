"""A worker: Celery's pool of processes, started anew when it is stuck or ends, and a row that says how it is."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from health import pulse
from processing.load import overloaded
from supervisor import end_with_parent

log = logging.getLogger("section5.worker")

BEAT = 2.0  # seconds
STALLED = 10.0  # seconds that work may wait while this worker does nothing

REGISTER = """
    INSERT INTO processing_worker (name, queues, cpu_percent, memory_percent, doing, state, drain)
    VALUES (%(name)s, %(queues)s, %(cpu)s, %(memory)s, %(doing)s, %(state)s, false)
    ON CONFLICT (name) DO UPDATE SET queues = excluded.queues, beat_at = now(), cpu_percent = excluded.cpu_percent,
        memory_percent = excluded.memory_percent, doing = excluded.doing, state = excluded.state
    RETURNING drain
"""
WAITING = """
    SELECT EXISTS (SELECT FROM processing_job WHERE state = 'queued' AND queue = ANY(%s)
        AND next_run_at < now() - make_interval(secs => %s))
"""


class Worker:
    """Takes work of some queues with a number of processes, until it is told to end."""

    def __init__(self, queues: str, processes: int) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._queues, self._processes = queues, processes
        self._draining = threading.Event()
        settings.DATA_FOLDER.mkdir(parents=True, exist_ok=True)
        self._pulse = settings.DATA_FOLDER / f"pulse-{os.getpid()}"  # touched with every message
        self._idle_since = time.time()

    def run(self) -> int:
        """Work until a signal: the first SIGTERM or SIGINT drains the worker, so that what it does is ended first."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._draining.set())
        self._say("working")
        while not self._draining.is_set():
            celery = self._start()
            while celery.poll() is None and not self._draining.is_set():
                self._draining.wait(BEAT)
                self._say("full" if overloaded() else "working")
                if self._is_stalled():
                    log.error("work waits and none arrives here: the pool is started anew")
                    os.killpg(celery.pid, signal.SIGKILL)
            if self._draining.is_set():
                self._drain(celery)
            else:
                log.warning("the pool ended (%s), and is started anew", celery.wait())
                self._draining.wait(BEAT)
        self._say("gone")
        self._pulse.unlink(missing_ok=True)
        return 0

    def _start(self) -> "subprocess.Popen[bytes]":
        folder = Path(__file__).parent.parent
        path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
        self._idle_since = time.time()
        return subprocess.Popen(  # noqa: S603
            [
                *(
                    sys.executable,
                    "-m",
                    "celery",
                    "--app",
                    "config.celery",
                    "--quiet",
                    "worker",
                    "--queues",
                    self._queues,
                ),
                *("--concurrency", str(self._processes), "--hostname", f"{os.getpid()}@%h", "--loglevel", "ERROR"),
                *("--without-gossip", "--without-mingle", "--without-heartbeat", "--optimization", "fair"),
            ],
            cwd=folder,
            env=os.environ
            | {
                "WORKER_NAME": self.name,
                "WORKER_PULSE": str(self._pulse),
                "PYTHONPATH": path,
                "PYTHONWARNINGS": "ignore",
            },
            start_new_session=True,
            preexec_fn=end_with_parent,
        )

    def _drain(self, celery: "subprocess.Popen[bytes]") -> None:
        celery.terminate()  # Celery's warm shutdown: no new work, and the present one is ended
        until = time.monotonic() + settings.TASK_SECONDS + 5
        while celery.poll() is None and time.monotonic() < until:
            self._say("draining")
            try:
                celery.wait(BEAT)
            except subprocess.TimeoutExpired:
                continue
        if celery.poll() is None:
            os.killpg(celery.pid, signal.SIGKILL)
            celery.wait()

    def _is_stalled(self) -> bool:
        """Whether work waits that this idle worker should have got: its broker or its pool is stuck."""
        with contextlib.suppress(FileNotFoundError):
            self._idle_since = max(self._idle_since, self._pulse.stat().st_mtime)
        if time.time() - self._idle_since < STALLED or overloaded():
            return False
        try:
            with connection.cursor() as cursor:
                cursor.execute(WAITING, (self._queues.split(","), STALLED))
                return bool(cursor.fetchone()[0])
        except (DatabaseError, InterfaceError):
            return False

    def _say(self, state: str) -> None:
        """Write the worker's row; where the database is away, the next beat does."""
        try:
            close_old_connections()
            with connection.cursor() as cursor:
                cursor.execute("SELECT id FROM processing_job WHERE state = 'running' AND worker = %s", (self.name,))
                doing = [job for (job,) in cursor.fetchall()]
                if doing:
                    self._idle_since = time.time()
                values = {
                    "name": self.name,
                    "queues": self._queues,
                    "cpu": psutil.cpu_percent(interval=None),
                    "memory": psutil.virtual_memory().percent,
                    "doing": json.dumps(doing),
                    "state": state,
                }
                cursor.execute(REGISTER, values)
                pulse()
                if cursor.fetchone()[0]:
                    self._draining.set()
        except (DatabaseError, InterfaceError) as error:
            log.warning("the database does not answer (%s)", type(error).__name__)
            connection.close()
