"""Read lists from a standby of the database, and still show each reader what they just wrote.

Every process that acknowledges a write records, before it does, that its source wrote just now. A reader is served by
the standby unless they wrote within the last seconds, or the standby is down or further behind than that; then by the
primary. Times are of the primary's clock only.
"""

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

log = logging.getLogger("section5.standby")

STANDBY = "standby"  # its name in DATABASES
MAX_LAG = 2.0  # seconds; shorter than KEEPALIVE of portal.live, after which an open page reads again
RECORD_EVERY = 1.0  # seconds; further writes of a source within them are not recorded
CLOCK_MARGIN = 1.0  # seconds by which the clocks of two servers may differ, when one takes over
PAUSE_AFTER_ERROR = 10.0  # seconds without a further attempt to read from a standby that failed
MAX_REMEMBERED = 10_000  # sources

RECORD = """
    INSERT INTO core_last_write (source, at) VALUES (%s, clock_timestamp())
    ON CONFLICT (source) DO UPDATE SET at = excluded.at
"""
REPLAYED = "SELECT pg_last_xact_replay_timestamp() WHERE pg_is_in_recovery()"
IS_RECENT = """
    SELECT %(replayed)s > clock_timestamp() - make_interval(secs => %(lag)s) AND NOT EXISTS (
        SELECT FROM core_last_write
        WHERE source = %(reader)s AND at > clock_timestamp() - make_interval(secs => %(written)s))
"""

Result = TypeVar("Result")
_uses_standby: ContextVar[bool] = ContextVar("uses_standby", default=False)
_recorded: dict[str, float] = {}  # when this process last recorded a write, by source
_paused_until = 0.0


class Router:
    """Django's database router: reads inside of `read_from_standby` go to the standby, everything else does not."""

    def db_for_read(self, *_: Any, **__: Any) -> str:
        """Return where to read."""
        return STANDBY if _uses_standby.get() else "default"

    def db_for_write(self, *_: Any, **__: Any) -> str:
        """Return where to write, also what was read from the standby."""
        return "default"

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        """Allow relations between rows of both: they are the same database."""
        return True

    def allow_migrate(self, database: str, *_: Any, **__: Any) -> bool:
        """Migrate the primary only."""
        return database != STANDBY


def record_write(source: str) -> None:
    """Record that a source wrote; call it after the commit and before the write is acknowledged.

    Args:
        source: the name under which it reads: user:NAME, http:TOKEN, dicom:AE.

    """
    now = time.monotonic()
    if not settings.STANDBY_URL or now - _recorded.get(source, -RECORD_EVERY) < RECORD_EVERY:
        return
    with connection.cursor() as cursor:
        cursor.execute(RECORD, [source[:100]])
    if len(_recorded) >= MAX_REMEMBERED:
        _recorded.clear()
    _recorded[source] = now


def read_from_standby(reader: str, query: Callable[[], Result]) -> Result:
    """Run a query on the standby if that has all that the reader wrote, otherwise on the primary.

    Args:
        reader: the name under which it writes: user:NAME, http:TOKEN, dicom:AE.
        query: returns rows, not a lazy queryset; it may run twice.

    """
    global _paused_until
    if not settings.STANDBY_URL or time.monotonic() < _paused_until:
        return query()
    try:
        if has_writes_of(reader):
            return _run_on_standby(query)
    except (OperationalError, InterfaceError) as error:
        log.warning("the standby does not respond (%s); reading from the primary", type(error).__name__)
        connections[STANDBY].close()
        _paused_until = time.monotonic() + PAUSE_AFTER_ERROR
    return query()


def reading_connection() -> BaseDatabaseWrapper:
    """Return the connection for SQL of our own: the standby's inside of `read_from_standby`."""
    return connections[STANDBY if _uses_standby.get() else "default"]


def has_writes_of(reader: str) -> bool:
    """Return whether the standby has everything that a reader wrote, and is not far behind for the others."""
    with connections[STANDBY].cursor() as cursor:
        cursor.execute(REPLAYED)
        row = cursor.fetchone()
    if row is None or row[0] is None:  # it became the primary
        connections[STANDBY].close()
        return False
    written = MAX_LAG + RECORD_EVERY + CLOCK_MARGIN
    with connection.cursor() as cursor:
        cursor.execute(IS_RECENT, {"replayed": row[0], "lag": MAX_LAG, "reader": reader[:100], "written": written})
        return bool(cursor.fetchone()[0])


def _run_on_standby(query: Callable[[], Result]) -> Result:
    token = _uses_standby.set(True)
    try:
        return query()
    finally:
        _uses_standby.reset(token)
