"""Work without the broker: a process of a worker that looks for due jobs in the database while no message arrives.

It is slower than the worker's pool, and asks for a message every few seconds, so that it ends when the broker is back.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from django.conf import settings

from core.processes import child_setup

INTERVAL = 1.0  # seconds between two looks while nothing is due
WAKE_INTERVAL = 5.0  # seconds between two messages, of which one must arrive
MAX_START = 60.0  # seconds that the process may need to start, on a busy machine


class Fallback:
    """The process, as its worker sees it."""

    def __init__(self, queues: str, environment: dict[str, str], heartbeat: Path) -> None:
        self._heartbeat = heartbeat
        self._heartbeat.touch()
        ready_by = time.time() + MAX_START
        os.utime(heartbeat, (ready_by, ready_by))
        command = [sys.executable, "-m", "jobs.fallback", queues, str(heartbeat)]
        self._process = subprocess.Popen(  # noqa: S603
            command,
            cwd=Path(__file__).parent.parent,
            env=environment,
            start_new_session=True,
            preexec_fn=child_setup(),
        )

    def is_over(self) -> bool:
        """Return whether the process ended; kill it if it does not start, or its job takes longer than a job may."""
        if time.time() - self._heartbeat.stat().st_mtime > settings.TASK_SECONDS:
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.poll() is not None

    def stop(self) -> None:
        """End it when its current job is finished, or with the job's time limit."""
        self._process.terminate()
        while not self.is_over():
            time.sleep(0.1)
        self._heartbeat.unlink(missing_ok=True)


def run(queues: list[str], heartbeat: Path) -> None:
    """Run due jobs until SIGTERM."""
    from django.db import DatabaseError, InterfaceError, close_old_connections

    from core.outage import report_outage, report_recovery
    from jobs.admission import overloaded
    from jobs.dispatcher import wake
    from jobs.tasks import BATCH_SECONDS, limit_memory, run_batch

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    limit_memory()
    woken, claimed = -WAKE_INTERVAL, 0
    while not stop.wait(0 if claimed else INTERVAL):
        if time.monotonic() - woken >= WAKE_INTERVAL:
            woken = time.monotonic()
            for queue in queues:
                wake(queue)
        claimed = 0
        for queue in queues:
            heartbeat.touch()
            try:
                close_old_connections()
                claimed += 0 if overloaded() else run_batch(queue, time.monotonic() + BATCH_SECONDS)
                report_recovery()
            except (DatabaseError, InterfaceError) as error:
                report_outage(error)


if __name__ == "__main__":
    import django

    django.setup()
    run(sys.argv[1].split(","), Path(sys.argv[2]))
