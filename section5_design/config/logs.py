"""Logging: a line for people or a JSON document for programs, each with its correlation ID."""

from typing import Any


def logging_settings(*, as_json: bool) -> dict[str, Any]:
    """Build Django's LOGGING setting; everything goes to standard error."""
    fields = "%(asctime)s %(levelname)s %(name)s %(message)s %(correlation_id)s"
    json = {"()": "pythonjsonlogger.json.JsonFormatter", "fmt": fields, "rename_fields": {"asctime": "at"}}
    line = {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"correlation": {"()": "core.correlation.CorrelationFilter"}},
        "formatters": {"default": json if as_json else line},
        "handlers": {"log": {"class": "logging.StreamHandler", "formatter": "default", "filters": ["correlation"]}},
        "root": {"handlers": ["log"], "level": "WARNING"},
        "loggers": {
            "section5": {"level": "INFO"},
            "section5.http": {"level": "INFO" if as_json else "WARNING"},
            "section5.images": {"level": "INFO" if as_json else "WARNING"},
            "kombu": {"level": "ERROR"},
            "celery": {"level": "ERROR"},
            "celery.worker.request": {"level": "CRITICAL"},  # a killed process and its traceback; the reaper reports it
            "axes": {"level": "ERROR"},
            "django.request": {"level": "ERROR"},
        },
    }
