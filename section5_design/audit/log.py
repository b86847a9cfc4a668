"""Lines of the log, each written in the transaction of what it tells of: neither is there without the other."""

from typing import Any

from django.db import connection

from config.logs import trace

WRITE = """
    INSERT INTO processing_event (kind, instance_id, study_id, actor, address, detail, trace)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


def write_event(
    cursor: Any,
    kind: str,
    instance_id: int | None,
    actor: str,
    detail: str,
    *,
    study_id: int | None = None,
    address: str = "",
) -> None:
    """A line: `actor` is a person (user:...), a sender (http:..., dicom:...), a worker; no patient data in `detail`."""
    cursor.execute(WRITE, (kind, instance_id, study_id, actor[:100], address[:64], detail[:500], trace.get()))


def note(kind: str, actor: str, detail: str = "", **what: Any) -> None:
    """A line of its own, where nothing else is written."""
    with connection.cursor() as cursor:
        write_event(cursor, kind, what.pop("instance_id", None), actor, detail, **what)
