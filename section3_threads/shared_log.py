"""One log file for every thread, and for every process that appends to it."""

import logging
import os
import time
from contextlib import nullcontext
from pathlib import Path

ENOUGH = 500  # records


class AppendingHandler(logging.Handler):
    """Appends whole lines to a file: with one system call for each flush, to its end (POSIX write with O_APPEND).

    Records wait in memory for `flush`, or for ENOUGH of them: a system call in the middle of a thread's work makes all
    threads change places. A record of several lines has its prefix on each. What cannot be written is raised.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            OSError: it cannot be written.

        """
        super().__init__()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._waiting: list[str] = []
        self._second = 0
        self._time = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a record; the handler's lock is held."""
        if int(record.created) != self._second:
            self._second = int(record.created)
            self._time = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        prefix = f"{self._time}.{int(record.msecs):03} {record.levelname} [{record.process}] "
        self._waiting.append(prefix + record.getMessage().replace("\n", "\n" + prefix) + "\n")
        if len(self._waiting) >= ENOUGH:
            self.flush()

    def flush(self) -> None:
        """Write what waits.

        Raises:
            OSError: the file cannot be written.

        """
        with self.lock or nullcontext():
            text, self._waiting = "".join(self._waiting), []
            rest = text.encode("utf-8", "backslashreplace")
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        """Write what waits and close the file."""
        if self._descriptor >= 0:
            try:
                self.flush()
            finally:
                os.close(self._descriptor)
                self._descriptor = -1
        super().close()
