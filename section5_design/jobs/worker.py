"""A worker: Celery's pool of processes, restarted if it is stuck or ends, a fallback, and a row with its heartbeat."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import psutil
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from config.celery import broker_queue
from core.health import beat
from core.outage import report_outage, report_recovery
from core.processes import child_setup
from jobs.admission import memory_percent, overloaded
from jobs.fallback import Fallback

log = logging.getLogger("section5.worker")

HEARTBEAT = 2.0  # seconds
STALLED = 3.0  # seconds that jobs may be due while this worker receives no message; then it works without
POOL_START = 6.0  # seconds that a pool needs to start
RESTART_POOL = 15.0  # seconds without a message until the pool is restarted, which declares its queues again

REGISTER = """
    INSERT INTO jobs_worker (name, queues, cpu_percent, memory_percent, current_jobs, state, drain)
    VALUES (%(name)s, %(queues)s, %(cpu)s, %(memory)s, %(current_jobs)s, %(state)s, false)
    ON CONFLICT (name) DO UPDATE SET queues = excluded.queues, heartbeat_at = now(), cpu_percent = excluded.cpu_percent,
        memory_percent = excluded.memory_percent, current_jobs = excluded.current_jobs, state = excluded.state
    RETURNING drain
"""
WAITING = """
    SELECT EXISTS (SELECT FROM jobs_job WHERE state = 'queued' AND queue = ANY(%s)
        AND next_run_at < now() - make_interval(secs => %s))
"""


class Worker:
    """Runs the jobs of some queues in a number of processes until it is stopped or drained.

    Its name is new at each start: a host name and a PID come back when a container restarts, and with them a drain.
    """

    def __init__(self, queues: str, processes: int) -> None:
        self.name = f"{socket.gethostname()}:{uuid.uuid4().hex[:8]}"
        self._queues, self._processes = queues, processes
        self._draining = threading.Event()
        settings.DATA_FOLDER.mkdir(parents=True, exist_ok=True)
        self._heartbeat = settings.DATA_FOLDER / f"heartbeat-{uuid.uuid4().hex}"  # touched with every message
        self._idle_since = self._stalled_since = time.time()
        self._fallback: Fallback | None = None

    def run(self) -> int:
        """Work until SIGTERM or SIGINT, which drains the worker: its current jobs are finished first."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._draining.set())
        self._report("working")
        while not self._draining.is_set():
            celery = self._start()
            while celery.poll() is None and not self._draining.is_set():
                self._draining.wait(HEARTBEAT)
                self._report("full" if overloaded() else "working")
                self._watch_messages(celery)
            if self._draining.is_set():
                self._drain(celery)
            else:
                log.warning("the pool ended (%s); restarting it", celery.wait())
                self._draining.wait(HEARTBEAT)
        self._report("gone")
        self._heartbeat.unlink(missing_ok=True)
        return 0

    def _start(self) -> "subprocess.Popen[bytes]":
        self._pool_started = time.time()
        self._idle_since = self._pool_started + POOL_START
        queues = ",".join(broker_queue(name) for name in self._queues.split(","))
        command = [sys.executable, "-m", "celery", "--app", "config.celery", "--quiet", "worker", "--queues", queues]
        command += ["--concurrency", str(self._processes), "--hostname", f"{os.getpid()}@%h", "--loglevel", "ERROR"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--optimization", "fair"]
        return subprocess.Popen(  # noqa: S603
            command,
            cwd=Path(__file__).parent.parent,
            env=self._environment(),
            stdout=subprocess.DEVNULL,  # Celery announces there that it ends; its log is standard error
            start_new_session=True,
            preexec_fn=child_setup(),
        )

    def _environment(self) -> dict[str, str]:
        """Return the environment of the processes that run jobs."""
        path = os.pathsep.join(filter(None, (str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH"))))
        return os.environ | {
            "WORKER_NAME": self.name,
            "WORKER_HEARTBEAT": str(self._heartbeat),
            "PYTHONPATH": path,
            "PYTHONWARNINGS": "ignore",
        }

    def _watch_messages(self, celery: "subprocess.Popen[bytes]") -> None:
        """Work without messages while none arrives, and restart a pool to which none arrives for long."""
        if self._fallback is None:
            if self._is_stalled():
                log.warning("jobs are due and no message arrives here: working without the broker")
                self._stalled_since = time.time()
                self._fallback = self._start_fallback()
        elif self._last_message() > self._stalled_since:
            log.warning("messages arrive again")
            self._fallback.stop()
            self._fallback = None
        else:
            if self._fallback.is_over():
                self._fallback = self._start_fallback()
            if time.time() - max(self._pool_started, self._stalled_since) > RESTART_POOL and not overloaded():
                log.error("no message arrives here: restarting the pool")
                os.killpg(celery.pid, signal.SIGKILL)

    def _start_fallback(self) -> Fallback:
        heartbeat = self._heartbeat.with_name(f"{self._heartbeat.name}-fallback")
        return Fallback(self._queues, self._environment(), heartbeat)

    def _last_message(self) -> float:
        """Return when a message arrived, or 0."""
        try:
            return self._heartbeat.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _drain(self, celery: "subprocess.Popen[bytes]") -> None:
        celery.terminate()  # Celery's warm shutdown: no new jobs, and the current ones are finished
        until = time.monotonic() + settings.TASK_SECONDS + 5
        while celery.poll() is None and time.monotonic() < until:
            self._report("draining")
            try:
                celery.wait(HEARTBEAT)
            except subprocess.TimeoutExpired:
                continue
        if celery.poll() is None:
            os.killpg(celery.pid, signal.SIGKILL)
            celery.wait()
        if self._fallback:
            self._fallback.stop()

    def _is_stalled(self) -> bool:
        """Return whether jobs are due and this idle worker received no message: its broker or its pool is stuck."""
        self._idle_since = max(self._idle_since, self._last_message())
        if time.time() - self._idle_since < STALLED or overloaded():
            return False
        try:
            with connection.cursor() as cursor:
                cursor.execute(WAITING, (self._queues.split(","), STALLED))
                return bool(cursor.fetchone()[0])
        except (DatabaseError, InterfaceError):
            return False

    def _report(self, state: str) -> None:
        """Write the worker's row; if the database does not respond, the next heartbeat does."""
        try:
            close_old_connections()
            with connection.cursor() as cursor:
                cursor.execute("SELECT id FROM jobs_job WHERE state = 'running' AND worker = %s", (self.name,))
                current_jobs = [job for (job,) in cursor.fetchall()]
                if current_jobs:
                    self._idle_since = time.time()
                values = {
                    "name": self.name,
                    "queues": self._queues,
                    "cpu": psutil.cpu_percent(interval=None),
                    "memory": memory_percent(),
                    "current_jobs": json.dumps(current_jobs),
                    "state": state,
                }
                cursor.execute(REGISTER, values)
                report_recovery()
                beat()
                if cursor.fetchone()[0]:
                    self._draining.set()
        except (DatabaseError, InterfaceError) as error:
            report_outage(error)
            connection.close()
