"""Run the programs of the system on one machine: start them, restart those that end, stop them in order."""

import contextlib
import logging
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence

from core.processes import child_setup

log = logging.getLogger("section5.supervisor")

STOP_TIMEOUT = 30  # seconds
PAUSE = 1.0  # seconds before a program is restarted


class Supervisor:
    """A context manager: the programs run inside the block, and end if this process is killed."""

    def __init__(self, programs: Mapping[str, Sequence[str]]) -> None:
        self._programs = programs
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Supervisor":
        for name in self._programs:
            self._start(name)
        signal.signal(signal.SIGTERM, lambda *_: self._ending.set())
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._watcher.join()
        for process in self.processes.values():
            process.terminate()
        for name, process in self.processes.items():
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                log.warning("%s did not end within %d seconds; killing it", name, STOP_TIMEOUT)
                process.kill()

    def wait(self) -> None:
        """Wait for a signal."""
        with contextlib.suppress(KeyboardInterrupt):
            self._ending.wait()

    def _start(self, name: str) -> None:
        # In a new session, so that Ctrl-C reaches only this process, which stops the programs in order.
        self.processes[name] = subprocess.Popen(  # noqa: S603
            self._programs[name], start_new_session=True, preexec_fn=child_setup()
        )

    def _watch(self) -> None:
        while not self._ending.wait(PAUSE):
            for name, process in list(self.processes.items()):
                if process.poll() is not None and not self._ending.is_set():
                    log.warning("%s ended (%s); restarting it", name, process.returncode)
                    self._start(name)
