"""The format of the log; it imports nothing of Django, which configures the log before the apps are loaded."""

import logging
from datetime import UTC, datetime

import orjson


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    _standard = frozenset(
        (*vars(logging.makeLogRecord({})), "message", "asctime", "request", "status_code", "taskName")
    )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in self._standard}
        if request := getattr(record, "request", None):
            line["request_id"] = getattr(request, "request_id", None)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z).decode()
