"""Lines of the log, read for auditors: by time, person, kind, image; with the UIDs of what they tell of."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection

MOST = 500
READ = """
    SELECT event.id, event.at, event.kind, event.actor, event.address, event.detail, event.trace, event.instance_id,
        coalesce(study.uid, of_instance.uid, '') AS study_uid, coalesce(instance.sop_class_uid, '') AS sop_class_uid,
        coalesce(instance.sop_instance_uid, '') AS sop_instance_uid
    FROM processing_event AS event
    LEFT JOIN archive_study AS study ON study.id = event.study_id
    LEFT JOIN archive_instance AS instance ON instance.id = event.instance_id
    LEFT JOIN archive_series AS series ON series.id = instance.series_id
    LEFT JOIN archive_study AS of_instance ON of_instance.id = series.study_id
    WHERE event.id < %(before)s AND event.id > %(after)s
        AND (%(since)s::timestamptz IS NULL OR event.at >= %(since)s)
        AND (%(actor)s = '' OR event.actor = %(actor)s) AND (%(kind)s = '' OR event.kind = %(kind)s)
        AND (%(uid)s = '' OR instance.sop_instance_uid = %(uid)s OR %(uid)s IN (study.uid, of_instance.uid))
"""
NEWEST, OLDEST = " ORDER BY event.id DESC LIMIT %(most)s", " ORDER BY event.id LIMIT %(most)s"


def newest(before: int | None, **wanted: str) -> list[dict[str, Any]]:
    """A page of lines, the newest first; `actor`, `kind` and `uid` narrow it."""
    return _read(READ + NEWEST, before=before or 2**62, most=MOST, **wanted)


def all_since(since: datetime | None) -> Iterator[dict[str, Any]]:
    """All lines, the oldest first, a page at a time."""
    after = 0
    while rows := _read(READ + OLDEST, after=after, since=since, most=MOST):
        yield from rows
        after = rows[-1]["id"]


def _read(statement: str, **wanted: Any) -> list[dict[str, Any]]:
    everything = {"before": 2**62, "after": 0, "since": None, "actor": "", "kind": "", "uid": ""}
    with connection.cursor() as cursor:
        cursor.execute(statement, everything | wanted)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
