"""Logs: a line or a JSON document each, with the trace of the request, association or job that it tells of.

A trace is given to what arrives (of HTTP the X-Request-ID of the sender, where it sent one), is kept with the instance,
and stands in each line that any part writes about it, from the first byte to the page that shows the result.
"""

import logging
import re
import uuid
from contextvars import ContextVar
from typing import Any

trace: ContextVar[str] = ContextVar("trace", default="")
TRACE_RULE = re.compile(r"[A-Za-z0-9._-]{1,32}\Z")


def new_trace(wanted: str = "") -> str:
    """Begin a trace, with the name that was asked for where it is a harmless one."""
    name = wanted if TRACE_RULE.match(wanted) else uuid.uuid4().hex
    trace.set(name)
    return name


class AddTrace(logging.Filter):
    """Gives each record the trace."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes."""
        record.trace = trace.get()
        return True


def logging_settings(*, as_json: bool) -> dict[str, Any]:
    """Django's LOGGING: to the standard error output, as lines for people or as JSON for programs."""
    fields = "%(asctime)s %(levelname)s %(name)s %(message)s %(trace)s"
    json = {"()": "pythonjsonlogger.json.JsonFormatter", "fmt": fields, "rename_fields": {"asctime": "at"}}
    line = {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"trace": {"()": AddTrace}},
        "formatters": {"shown": json if as_json else line},
        "handlers": {"log": {"class": "logging.StreamHandler", "formatter": "shown", "filters": ["trace"]}},
        "root": {"handlers": ["log"], "level": "WARNING"},
        "loggers": {
            "section5": {"level": "INFO"},
            "section5.http": {"level": "INFO" if as_json else "WARNING"},
            "section5.images": {"level": "INFO" if as_json else "WARNING"},
            "kombu": {"level": "ERROR"},
            "celery": {"level": "ERROR"},
            "celery.worker.request": {"level": "CRITICAL"},  # a killed process, with its traceback; the sweeper says it
            "axes": {"level": "ERROR"},
            "django.request": {"level": "ERROR"},
        },
    }
