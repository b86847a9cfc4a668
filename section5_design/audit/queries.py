"""Read audit events for auditors: by time, actor, kind, UID."""

from collections.abc import Iterator, Sequence
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
        AND (%(until)s::timestamptz IS NULL OR event.at < %(until)s)
        AND (%(actor)s = '' OR event.actor IN (%(actor)s, 'user:' || %(actor)s))
        AND (%(kind)s = '' OR event.kind = %(kind)s)
"""  # noqa: S608  # names of columns
BY_UID = """
    AND id IN (SELECT id FROM audit_event WHERE study_uid = ANY(%(uids)s) AND study_uid <> ''
        UNION ALL SELECT id FROM audit_event WHERE sop_instance_uid = ANY(%(uids)s) AND sop_instance_uid <> '')
"""
BY_INSTANCE = f"SELECT {COLUMNS} FROM audit_event WHERE instance_id = %(instance)s ORDER BY id"  # noqa: S608
NEWEST, OLDEST = " ORDER BY event.id DESC LIMIT %(limit)s", " ORDER BY event.id LIMIT %(limit)s"


def find_events(
    before: int | None,
    *,
    actor: str = "",
    kind: str = "",
    uids: Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[dict[str, Any]]:
    """Return a page of events, the newest first.

    Args:
        before: return events with smaller IDs only.
        actor: an actor as it is logged, or a person's name.
        kind: the kind of event.
        uids: study or instance UIDs; None for any.
        since: the earliest time.
        until: the time after the latest.

    """
    statement = READ + ("" if uids is None else BY_UID) + NEWEST
    values = {"actor": actor, "kind": kind, "since": since, "until": until}
    return _read(statement, before=before or 2**62, uids=list(uids or ()), **values)


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
    defaults = {"before": 2**62, "after": 0, "since": None, "until": None, "actor": "", "kind": "", "limit": MAX_ROWS}
    with connection.cursor() as cursor:
        cursor.execute(statement, defaults | values)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
