"""Store an instance: the one way into the archive, for every interface; success means that it is durable.

Spool, hash, encrypt and scan the header while streaming -> check -> move to the content's name -> send one statement
(instance, job, submission, audit event) -> sync file and folder meanwhile -> commit -> success -> wake a worker.
"""

import errno
import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from psycopg2 import sql
from psycopg2.extras import Json

from analysis.handler import KIND, choose_queue
from archive.garbage import LOCK_SHARED
from archive.object_store import object_key, store
from archive.overlap import overlap
from core import metrics
from core.correlation import correlation_id
from core.standby import record_write
from ingest.header import INSTANCE_NUMBERS, Header, RefusedError
from ingest.incoming import IncomingFile
from jobs.dispatcher import wake

log = logging.getLogger("section5.ingest")


@dataclass(frozen=True)
class Sender:
    """Who sends: as the audit log names them, and for uploads the person and the team."""

    source: str  # dicom:AE, http:TOKEN, user:NAME, folder:PATH, analysis:NAME
    user_id: int | None = None
    group_id: int | None = None

    @property
    def interface(self) -> str:
        """Return the interface, for metrics."""
        return self.source.partition(":")[0]


@dataclass(frozen=True)
class Stored:
    """A stored instance: `new`, a `duplicate`, or a `conflict` with other content under the same UID."""

    outcome: str
    instance_id: int
    header: Header
    sha256: str


def store_instance(file: IncomingFile, sender: Sender, study_uid: str | None = None) -> Stored:
    """Store a spooled file.

    Args:
        file: the spooled file.
        sender: who sent it.
        study_uid: the study that it must belong to, if the request named one.

    Raises:
        RefusedError: it is not a valid DICOM file; nothing was stored.
        OSError: it could not be made durable; nothing was acknowledged.
        OperationalError, InterfaceError: the database does not respond.

    """
    started, outcome = time.perf_counter(), "failed"
    try:
        stored = _store(file, sender, study_uid)
        record_write(sender.source)
        outcome = stored.outcome
    except RefusedError:
        outcome = "refused"
        raise
    finally:
        metrics.received.labels(sender.interface, outcome).inc()
        metrics.receive_seconds.labels(sender.interface).observe(time.perf_counter() - started)
    return stored


def _store(file: IncomingFile, sender: Sender, study_uid: str | None) -> Stored:
    sha256 = file.finish()
    header = file.read_header()
    if study_uid and header.study_uid != study_uid:
        reason = "belongs to another study than the request names"
        raise RefusedError(reason, header.sop_class_uid, header.sop_instance_uid)
    try:
        stored = publish_and_record(file, header, sha256, sender)
    except (OperationalError, InterfaceError):  # the server restarted while this connection was idle
        stored = publish_and_record(file, header, sha256, sender)
    if stored.outcome != "duplicate":
        wake(choose_queue(header.decoded_size))
    return stored


def publish_and_record(file: IncomingFile, header: Header, sha256: str, sender: Sender) -> Stored:
    """Move the file into the store and record it.

    The rows are committed only when the object is durable and, under the lock that keeps it from being deleted, there.

    Raises:
        OSError: the object could not be made durable, or was deleted meanwhile; nothing was recorded.
        OperationalError, InterfaceError: the database does not respond.

    """
    objects, key = store(), object_key(sha256)
    try:
        if not file.is_published:  # by an earlier try
            objects.publish(file, key)
            file.is_published = True
        with connection.cursor() as cursor:
            prepare_record(cursor)
            with overlap(lambda: objects.sync({key: file})):
                stored = record(header, sha256, file.size, sender, cursor=cursor)
            if not objects.confirm(file, key):
                raise OSError(errno.ENOENT, "the object is gone")
            cursor.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return stored


# The parameters of RECORD with their types, in the order of the prepared statement.
PARAMETERS = {
    "sop_instance_uid": "text",
    "sha256": "text",
    "sop_class_uid": "text",
    "syntax": "text",
    "size": "bigint",
    "decoded": "bigint",
    "source": "text",
    "user": "integer",
    "group": "integer",
    "study_uid": "text",
    "series": "text",
    "kind": "text",
    "queue": "text",
    "correlation_id": "text",
    **dict.fromkeys(INSTANCE_NUMBERS, "integer"),
}
# One statement, so that a C-STORE waits for the database once before it commits, and prepared, so that it is planned
# once. No row: the series is new. A duplicate writes a message to PostgreSQL's log, because a commit that wrote nothing
# would not wait for the synchronous standby, which may not have the first one's rows yet.
RECORD = """
    WITH known AS (
        SELECT id, sha256 FROM archive_instance WHERE sop_instance_uid = %(sop_instance_uid)s
    ), instance AS (
        INSERT INTO archive_instance (sop_instance_uid, sha256, series_id, sop_class_uid, transfer_syntax_uid, size,
            decoded_size, source, correlation_id, conflict,
            instance_number, number_of_frames, rows, columns, bits_allocated)
        SELECT %(sop_instance_uid)s, %(sha256)s, series.id, %(sop_class_uid)s, %(syntax)s, %(size)s, %(decoded)s,
            %(source)s, %(correlation_id)s, EXISTS (SELECT FROM known),
            %(instance_number)s, %(number_of_frames)s, %(rows)s, %(columns)s, %(bits_allocated)s
        FROM archive_series AS series JOIN archive_study AS study ON study.id = series.study_id
        WHERE study.uid = %(study_uid)s AND series.uid = %(series)s
            AND NOT EXISTS (SELECT FROM known WHERE sha256 = %(sha256)s)
        RETURNING id, CASE WHEN conflict THEN 'conflict' ELSE 'new' END AS outcome
    ), flagged AS (
        UPDATE archive_instance AS other SET conflict = true FROM instance
        WHERE instance.outcome = 'conflict' AND other.sop_instance_uid = %(sop_instance_uid)s
    ), job AS (
        INSERT INTO jobs_job (kind, subject, queue, priority, state, attempts, fencing_token, worker, reason,
            correlation_id, audit_subject)
        SELECT %(kind)s, id, %(queue)s, 0, 'queued', 0, 0, '', '', %(correlation_id)s, jsonb_build_object(
            'instance_id', id, 'study_uid', %(study_uid)s, 'sop_class_uid', %(sop_class_uid)s,
            'sop_instance_uid', %(sop_instance_uid)s)
        FROM instance
    ), arrival AS (
        INSERT INTO archive_arrival (instance_id) SELECT id FROM instance
    ), stored AS (
        SELECT id, outcome FROM instance UNION ALL SELECT id, 'duplicate' FROM known WHERE sha256 = %(sha256)s
    ), submission AS (
        INSERT INTO accounts_submission (instance_id, source, user_id, group_id, submitted_at)
        SELECT id, %(source)s, %(user)s, %(group)s, now() FROM stored
        ON CONFLICT DO NOTHING RETURNING instance_id
    ), event AS (
        INSERT INTO audit_event (kind, actor, detail, correlation_id, instance_id, study_uid, sop_class_uid,
            sop_instance_uid)
        SELECT 'received', %(source)s, outcome, %(correlation_id)s, id, %(study_uid)s, %(sop_class_uid)s,
            %(sop_instance_uid)s
        FROM stored JOIN submission ON submission.instance_id = stored.id
    )
    SELECT id, outcome, CASE WHEN outcome = 'duplicate' THEN pg_logical_emit_message(true, 'duplicate', '') END
    FROM stored
"""


# The first lock keeps the object from being deleted, the second admits one content of a UID at a time: of two that
# arrive together, the second statement's snapshot sees the first.
EXECUTE = f"""
    {LOCK_SHARED % "%(sha256)s"};
    SELECT pg_advisory_xact_lock(hashtextextended(%(sop_instance_uid)s, 5));
    EXECUTE record_instance({", ".join(f"%({name})s" for name in PARAMETERS)})
"""


class _Session(threading.local):
    prepared_for: Any = None  # psycopg2's connection in which the statement is prepared


_session = _Session()


def prepare_record(cursor: Any) -> None:
    """Prepare RECORD, once in a connection."""
    if _session.prepared_for is not connection.connection:
        numbered = RECORD % {name: f"${number}" for number, name in enumerate(PARAMETERS, 1)}
        cursor.execute(f"PREPARE record_instance ({', '.join(PARAMETERS.values())}) AS {numbered}")
        _session.prepared_for = connection.connection


def record(header: Header, sha256: str, size: int, sender: Sender, *, cursor: Any) -> Stored:
    """Write an instance's rows, in a transaction for the caller to commit: instance, job, submission, audit event."""
    values = {
        "sop_instance_uid": header.sop_instance_uid,
        "sha256": sha256,
        "sop_class_uid": header.sop_class_uid,
        "syntax": header.transfer_syntax_uid,
        "size": size,
        "decoded": header.decoded_size,
        "source": sender.source[:100],
        "user": sender.user_id,
        "group": sender.group_id,
        "study_uid": header.study_uid,
        "series": header.series_uid,
        "kind": KIND,
        "queue": choose_queue(header.decoded_size),
        "correlation_id": correlation_id.get(),
        **dict.fromkeys(INSTANCE_NUMBERS),
        **header.numbers,
    }
    prepare_record(cursor)
    cursor.execute(f"BEGIN; {EXECUTE}", values)
    row = cursor.fetchone()
    if row is None:
        create_series(cursor, header)
        cursor.execute(EXECUTE, values)
        row = cursor.fetchone()
    instance_id, outcome, _ = row
    return Stored(outcome, instance_id, header, sha256)


def create_series(cursor: Any, header: Header) -> None:
    """Create the rows of a series and its study unless they exist."""
    study = {"uid": header.study_uid, **header.study}
    columns = sql.SQL(", ").join(map(sql.Identifier, study))
    insert = sql.SQL("INSERT INTO archive_study ({}) VALUES %s ON CONFLICT (uid) DO NOTHING")
    cursor.execute(insert.format(columns), (tuple(study.values()),))
    series = {"uid": header.series_uid, **header.series, "request_attributes": Json(header.requests())}
    columns = sql.SQL(", ").join(map(sql.Identifier, [*series, "study_id"]))
    insert = sql.SQL("INSERT INTO archive_series ({}) VALUES %s ON CONFLICT (study_id, uid) DO NOTHING")
    cursor.execute("SELECT id FROM archive_study WHERE uid = %s", (header.study_uid,))
    cursor.execute(insert.format(columns), ((*series.values(), *cursor.fetchone()),))
