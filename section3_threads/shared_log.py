"""One log file that every thread, and every process, appends to."""

import logging
import os
from pathlib import Path
from typing import TextIO

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s [%(process)d %(threadName)s] %(message)s"
BUFFER_BYTES = 1 << 20  # the longest text that one system call writes


class SharedFileHandler(logging.FileHandler):
    """Append complete records, with one `write` per `flush`, so that threads and processes do not mix their lines.

    The handler's lock orders the threads; O_APPEND orders the processes. A record has reached the operating system when
    `flush` returns. The file is readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            OSError: The file cannot be written.

        """
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S"))
        self._lines: list[str] = []

    def _open(self) -> TextIO:  # type: ignore[override]
        def open_private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(
            self.baseFilename, "a", BUFFER_BYTES, encoding=self.encoding, errors=self.errors, opener=open_private
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record; `handle` holds the lock."""
        self._lines.append(self.format(record) + "\n")

    def flush(self) -> None:
        """Write the records to the file.

        Raises:
            OSError: The file, which the error names, cannot be written.

        """
        with self.lock:  # type: ignore[union-attr]
            if self.stream is not None:  # not closed
                lines, self._lines = self._lines, []
                try:
                    self.stream.write("".join(lines))
                    self.stream.flush()
                except OSError as error:
                    raise OSError(error.errno, error.strerror, self.baseFilename) from error
