"""Report that the database does not respond: one line when that begins, one a minute while it lasts, one at its end."""

import logging
import threading
import time

from django.db import Error, OperationalError

log = logging.getLogger("section5.database")

REMIND_EVERY = 60.0  # seconds

_lock = threading.Lock()
_began_at: float | None = None
_reported_at = 0.0


def report_outage(error: Error) -> None:
    """Report that the database does not respond, unless this process did so within the last minute."""
    global _began_at, _reported_at
    now = time.monotonic()
    with _lock:
        if _began_at is None:
            _began_at = now
        elif now - _reported_at < REMIND_EVERY:
            return
        _reported_at = now
    log.error("the database does not respond (%s); check it and DATABASE_URL; trying again", describe(error))


def report_recovery() -> None:
    """Report that the database responds, if it did not before."""
    global _began_at
    if _began_at is None:
        return
    with _lock:
        began_at, _began_at = _began_at, None
    if began_at is not None:
        log.warning("the database responds again, after %.0f s", time.monotonic() - began_at)


def describe(error: Error) -> str:
    """Return the first line of a connection's error; of another one only its type, as its text may name patients."""
    lines = str(error).splitlines()
    return lines[0] if isinstance(error, OperationalError) and lines else type(error).__name__
