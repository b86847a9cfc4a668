"""Write audit events, each in the transaction of the change that it records: neither exists without the other."""

from dataclasses import asdict, dataclass
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
