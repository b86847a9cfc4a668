"""One log file that every thread, and every process, appends to."""

import logging
import sys
from pathlib import Path

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s [%(process)d %(threadName)s] %(message)s"


class SharedFileHandler(logging.FileHandler):
    """Append each record with one `write`, so that threads and processes do not mix their lines.

    The handler's lock orders the threads; append mode orders the processes. The file is readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            OSError: The file cannot be written.
        """
        path.touch(0o600)
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        """Raise the error of a failed write, with the name of the file, instead of printing a traceback."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            error.filename = self.baseFilename
        raise
