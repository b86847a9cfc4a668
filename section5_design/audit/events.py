"""Write audit events, each in the transaction of the change that it records: neither exists without the other."""

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from django.db import connection

from core.correlation import correlation_id

INSERT = """
    INSERT INTO audit_event (kind, actor, address, detail, correlation_id, instance_id, study_uid, sop_class_uid,
        sop_instance_uid)
    VALUES (%(kind)s, %(actor)s, %(address)s, %(detail)s, %(correlation_id)s, %(instance_id)s, %(study_uid)s,
        %(sop_class_uid)s, %(sop_instance_uid)s)
"""


@dataclass(frozen=True)
class Subject:
    """What an event is about: an instance, a study, or nothing in the archive."""

    instance_id: int | None = None
    study_uid: str = ""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


NOTHING = Subject()


def record_event(
    kind: str, actor: str, detail: str = "", *, subject: Subject = NOTHING, address: str = "", cursor: Any = None
) -> None:
    """Write an event, in the open transaction if there is one.

    Args:
        kind: one of `messages.KINDS`.
        actor: user:NAME, http:TOKEN, dicom:AE, person:LOGIN, or the name of a worker.
        detail: no patient data.
        subject: the instance or study that the event is about.
        address: the actor's network address.
        cursor: an open cursor to reuse.

    """
    values = {"kind": kind, "actor": actor[:100], "address": address[:64], "detail": detail[:500]}
    values["correlation_id"] = correlation_id.get()
    if cursor is not None:
        cursor.execute(INSERT, values | asdict(subject))
        return
    with connection.cursor() as own:
        own.execute(INSERT, values | asdict(subject))


def record_events(kind: str, events: Sequence[tuple[str, str, Subject]], *, cursor: Any) -> None:
    """Write events of a kind, each an actor, a correlation ID and a subject, in one statement."""
    columns = zip(
        *((actor[:100], correlation, *astuple(subject)) for actor, correlation, subject in events), strict=True
    )
    cursor.execute(
        "INSERT INTO audit_event (kind, address, detail, actor, correlation_id, instance_id, study_uid, sop_class_uid,"
        " sop_instance_uid) SELECT %s, '', '', *"
        " FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[])",
        [kind, *(list(column) for column in columns)],
    )
