"""Read audit events for auditors: by time, actor, kind, UID."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection

MAX_ROWS = 500
COLUMNS = """
    id, at, kind, actor, address, detail, correlation_id, instance_id, study_uid, sop_class_uid, sop_instance_uid
"""
READ = f"""
    SELECT {COLUMNS} FROM audit_event AS event
    WHERE event.id < %(before)s AND event.id > %(after)s
        AND (%(since)s::timestamptz IS NULL OR event.at >= %(since)s)
        AND (%(actor)s = '' OR event.actor = %(actor)s) AND (%(kind)s = '' OR event.kind = %(kind)s)
"""  # noqa: S608  # names of columns
BY_UID = """
    AND id IN (SELECT id FROM audit_event WHERE study_uid = %(uid)s AND study_uid <> ''
        UNION ALL SELECT id FROM audit_event WHERE sop_instance_uid = %(uid)s AND sop_instance_uid <> '')
"""
BY_INSTANCE = f"SELECT {COLUMNS} FROM audit_event WHERE instance_id = %(instance)s ORDER BY id"  # noqa: S608
NEWEST, OLDEST = " ORDER BY event.id DESC LIMIT %(limit)s", " ORDER BY event.id LIMIT %(limit)s"


def find_events(before: int | None, *, actor: str = "", kind: str = "", uid: str = "") -> list[dict[str, Any]]:
    """Return a page of events, the newest first, filtered by actor, kind, and study or instance UID."""
    statement = READ + (BY_UID if uid else "") + NEWEST
    return _read(statement, before=before or 2**62, actor=actor, kind=kind, uid=uid)


def iter_events(since: datetime | None) -> Iterator[dict[str, Any]]:
    """Iterate over all events, the oldest first, reading a page at a time."""
    after = 0
    while rows := _read(READ + OLDEST, after=after, since=since):
        yield from rows
        after = rows[-1]["id"]


def find_instance_events(instance_id: int) -> list[dict[str, Any]]:
    """Return the events about an instance, the oldest first."""
    return _read(BY_INSTANCE, instance=instance_id)


def _read(statement: str, **values: Any) -> list[dict[str, Any]]:
    defaults = {"before": 2**62, "after": 0, "since": None, "actor": "", "kind": "", "limit": MAX_ROWS}
    with connection.cursor() as cursor:
        cursor.execute(statement, defaults | values)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
