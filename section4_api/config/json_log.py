"""The format of the log."""

from typing import Any

from pythonjsonlogger.orjson import OrjsonFormatter


class JsonFormatter(OrjsonFormatter):
    """A line of JSON; of a request only the id, because its URL may hold a token."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Replace the request of an error that Django logs."""
        if request := log_data.pop("request", None):
            log_data["request_id"] = getattr(request, "request_id", None)
        return log_data
