"""The parts of the system on one machine: started, started anew when they end, stopped in order."""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

log = logging.getLogger("section5.supervisor")

PATIENCE = 30  # seconds that a part may take to end what it does
PAUSE = 1.0  # seconds before a part is started anew
PR_SET_PDEATHSIG = 1


class Supervisor:
    """As a context manager: the parts run inside the block. A part is told to end when this process is killed."""

    def __init__(self, parts: Mapping[str, Sequence[str]]) -> None:
        self._parts = parts
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Supervisor":
        for name in self._parts:
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
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                log.warning("%s did not end in %d seconds, and is killed", name, PATIENCE)
                process.kill()

    def wait(self) -> None:
        """Until a signal."""
        with contextlib.suppress(KeyboardInterrupt):
            self._ending.wait()

    def _start(self, name: str) -> None:
        # A session of its own, so that Ctrl-C reaches this process alone, which ends the parts in order.
        self.processes[name] = subprocess.Popen(  # noqa: S603
            self._parts[name], start_new_session=True, preexec_fn=end_with_parent
        )

    def _watch(self) -> None:
        while not self._ending.wait(PAUSE):
            for name, process in list(self.processes.items()):
                if process.poll() is not None and not self._ending.is_set():
                    log.warning("%s ended (%s), and is started anew", name, process.returncode)
                    self._start(name)


def end_with_parent() -> None:
    """On Linux, a part that is left alone ends too; elsewhere the next start finds its port taken and says so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == 1:
            os._exit(1)
