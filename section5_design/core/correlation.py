"""Correlation IDs: one per request, association or job, in every log line and audit event about it.

An ID is assigned when data arrives (over HTTP it is the sender's X-Request-ID, if valid), is stored with the instance
and its job, and so connects the first byte received with the result shown on a page.
"""

import logging
import re
import uuid
from contextvars import ContextVar

correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")
VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,32}\Z")


def begin_correlation(requested: str = "") -> str:
    """Start a new correlation ID and return it; use the requested one if it is harmless."""
    value = requested if VALID_ID.match(requested) else uuid.uuid4().hex
    correlation_id.set(value)
    return value


class CorrelationFilter(logging.Filter):
    """Add the correlation ID to each log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        record.correlation_id = correlation_id.get()
        return True
