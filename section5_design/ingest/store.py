"""Store an instance: the one way into the archive, for every interface; success means that it is durable.

Spool, hash and encrypt while streaming -> sync -> check the structure -> rename to the content's name -> sync the
folder -> one transaction (instance, job, submission, audit event) -> success -> wake a worker.
"""

import errno
import logging
import time
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction

from analysis.handler import KIND, choose_queue
from archive.garbage import lock_hash
from archive.object_store import object_key, store
from archive.spool import SpoolFile
from core import metrics
from core.correlation import correlation_id
from ingest.header import Header, RefusedError, read_header
from jobs.dispatcher import wake

log = logging.getLogger("section5.ingest")


@dataclass(frozen=True)
class Sender:
    """Who sends: as the audit log names them, and for uploads the person and the team."""

    source: str  # dicom:AE, http:TOKEN, user:NAME, folder:PATH
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


def store_instance(file: SpoolFile, sender: Sender, study_uid: str | None = None) -> Stored:
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
        outcome = stored.outcome
    except RefusedError:
        outcome = "refused"
        raise
    finally:
        metrics.received.labels(sender.interface, outcome).inc()
        metrics.receive_seconds.labels(sender.interface).observe(time.perf_counter() - started)
    return stored


def _store(file: SpoolFile, sender: Sender, study_uid: str | None) -> Stored:
    sha256 = file.commit()
    with file.open() as content:
        header = read_header(content, file.size)
    if study_uid and header.study_uid != study_uid:
        raise RefusedError("belongs to another study than the request names")
    try:
        stored = move_and_record(file, header, sha256, sender)
    except (OperationalError, InterfaceError):  # the server restarted while this connection was idle
        connection.close()
        stored = move_and_record(file, header, sha256, sender)
    if stored.outcome != "duplicate":
        wake(choose_queue(header.decoded_size))
    return stored


def move_and_record(file: SpoolFile, header: Header, sha256: str, sender: Sender) -> Stored:
    """Move the file into the store and record it, under the lock that keeps the object from being deleted."""
    with transaction.atomic(), connection.cursor() as cursor:
        lock_hash(cursor, sha256)
        if file.path.exists():
            store().put(file.path, object_key(sha256))
        elif not store().contains(object_key(sha256)):  # moved by an earlier try, and deleted since
            raise OSError(errno.ENOENT, "the object is gone")
        return record(header, sha256, file.size, sender, cursor=cursor)


# One statement, so that a C-STORE waits for the database once. The lock admits one content of a UID at a time: of two
# that arrive together, the second statement's snapshot sees the first. No row: the series is new.
RECORD = """
    SELECT pg_advisory_xact_lock(hashtextextended(%(sop_instance_uid)s, 5));
    WITH known AS (
        SELECT id, sha256 FROM archive_instance WHERE sop_instance_uid = %(sop_instance_uid)s
    ), instance AS (
        INSERT INTO archive_instance (sop_instance_uid, sha256, series_id, sop_class_uid, transfer_syntax_uid, size,
            decoded_size, source, correlation_id, conflict)
        SELECT %(sop_instance_uid)s, %(sha256)s, series.id, %(sop_class_uid)s, %(syntax)s, %(size)s, %(decoded)s,
            %(source)s, %(correlation_id)s, EXISTS (SELECT FROM known)
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
    SELECT id, outcome FROM stored
"""


def record(header: Header, sha256: str, size: int, sender: Sender, *, cursor: Any) -> Stored:
    """Write an instance's rows, in the caller's transaction: instance, job, submission, audit event."""
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
    }
    cursor.execute(RECORD, values)
    row = cursor.fetchone()
    if row is None:
        create_series(cursor, header)
        cursor.execute(RECORD, values)
        row = cursor.fetchone()
    instance_id, outcome = row
    return Stored(outcome, instance_id, header, sha256)


def create_series(cursor: Any, header: Header) -> None:
    """Create the rows of a series and its study unless they exist."""
    cursor.execute(
        "INSERT INTO archive_study (uid, patient_id, patient_name, study_date) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (uid) DO NOTHING",
        (header.study_uid, header.patient_id, header.patient_name, header.study_date),
    )
    cursor.execute(
        "INSERT INTO archive_series (study_id, uid, modality)"
        " SELECT id, %s, %s FROM archive_study WHERE uid = %s ON CONFLICT (study_id, uid) DO NOTHING",
        (header.series_uid, header.modality, header.study_uid),
    )
