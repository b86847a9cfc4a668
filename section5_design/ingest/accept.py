"""The one way in, behind HTTP, DICOM and the folder; success is said only when bytes and row are safe.

Spool, hashed and sealed while streaming -> sync -> structure checked -> rename to the content's name -> sync the
folder -> one transaction (instance, job, log) -> success -> ring.
"""

import logging
import time
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError, connection

from archive.object_store import object_key, store
from archive.spool import Spooled
from config import metrics
from config.logs import trace
from ingest.validation import Header, RefusedError, read_header
from processing.bell import ring_soon

log = logging.getLogger("section5.ingest")

LARGE = 64 << 20  # decoded bytes; more is work of the other cost class


@dataclass(frozen=True)
class Accepted:
    """An instance that is safe here: `new`, known already (`again`), or a `conflict` with other content."""

    outcome: str
    instance_id: int
    header: Header
    sha256: str


def accept(file: Spooled, source: str, study_uid: str | None = None) -> Accepted:
    """Take a spooled file in.

    Raises:
        RefusedError: it is not DICOM as it should be; nothing is kept.
        OSError: it could not be made safe; nothing was acknowledged.
        OperationalError, InterfaceError: the database does not answer.

    """
    started, way = time.perf_counter(), source.partition(":")[0]
    outcome = "failed"
    try:
        accepted = _accept(file, source, study_uid)
        outcome = accepted.outcome
    except RefusedError:
        outcome = "refused"
        raise
    finally:
        metrics.received.labels(way, outcome).inc()
        metrics.receive_seconds.labels(way).observe(time.perf_counter() - started)
    return accepted


def _accept(file: Spooled, source: str, study_uid: str | None) -> Accepted:
    sha256 = file.make_safe()
    with file.open() as content:
        header = read_header(content, file.size)
    if study_uid and header.study_uid != study_uid:
        raise RefusedError("belongs to another study than the address says")
    store().put(file.path, object_key(sha256))
    try:
        accepted, job = record(header, sha256, file.size, source)
    except (OperationalError, InterfaceError):  # the server was started anew while this connection was idle
        connection.close()
        accepted, job = record(header, sha256, file.size, source)
    if job is not None:
        ring_soon(job, queue_of(header))
    return accepted


def queue_of(header: Header) -> str:
    """The cost class of an instance's work."""
    return "large" if header.decoded_size > LARGE else "small"


# Sent as one message, so that a C-STORE waits for the database once. The lock lets one content of a UID in at a time:
# of two that come at once, the second statement's snapshot shows the first. No row: the series is new here.
RECORD = """
    SELECT pg_advisory_xact_lock(hashtextextended(%(uid)s, 5));
    WITH known AS (
        SELECT id, sha256 FROM archive_instance WHERE sop_instance_uid = %(uid)s
    ), instance AS (
        INSERT INTO archive_instance (sop_instance_uid, sha256, series_id, sop_class_uid, transfer_syntax_uid, size,
            decoded_size, source, trace, conflict)
        SELECT %(uid)s, %(sha256)s, series.id, %(class)s, %(syntax)s, %(size)s, %(decoded)s, %(source)s, %(trace)s,
            EXISTS (SELECT FROM known)
        FROM archive_series AS series JOIN archive_study AS study ON study.id = series.study_id
        WHERE study.uid = %(study)s AND series.uid = %(series)s
            AND NOT EXISTS (SELECT FROM known WHERE sha256 = %(sha256)s)
        RETURNING id, conflict, CASE WHEN conflict THEN 'conflict' ELSE 'new' END AS outcome
    ), flagged AS (
        UPDATE archive_instance AS other SET conflict = true FROM instance
        WHERE instance.conflict AND other.sop_instance_uid = %(uid)s
    ), job AS (
        INSERT INTO processing_job (instance_id, queue, state, attempts, fence, worker, reason, rung_at)
        SELECT id, %(queue)s, 'queued', 0, 0, '', '', now() FROM instance RETURNING id
    ), event AS (
        INSERT INTO processing_event (kind, instance_id, actor, detail, trace)
        SELECT 'received', id, %(source)s, outcome, %(trace)s FROM instance
    )
    SELECT instance.id, outcome, job.id FROM instance, job
    UNION ALL SELECT id, 'again', NULL FROM known WHERE sha256 = %(sha256)s
"""


def record(header: Header, sha256: str, size: int, source: str) -> tuple[Accepted, int | None]:
    """Write the rows of an instance; its job's id, or None where the same content was here before."""
    values = {
        "uid": header.sop_instance_uid,
        "sha256": sha256,
        "class": header.sop_class_uid,
        "syntax": header.transfer_syntax_uid,
        "size": size,
        "decoded": header.decoded_size,
        "source": source[:100],
        "study": header.study_uid,
        "series": header.series_uid,
        "queue": queue_of(header),
        "trace": trace.get(),
    }
    with connection.cursor() as cursor:
        cursor.execute(RECORD, values)
        row = cursor.fetchone()
        if row is None:
            make_series(cursor, header)
            cursor.execute(RECORD, values)
            row = cursor.fetchone()
    instance_id, outcome, job = row
    return Accepted(outcome, instance_id, header, sha256), job


def make_series(cursor: Any, header: Header) -> None:
    """The rows of a series and of its study, where they are missing."""
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
