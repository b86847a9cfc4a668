"""The one way in, behind HTTP, DICOM and the folder; success is said only when bytes and row are safe.

Spool -> structure checked -> SHA-256 while streaming -> sync -> rename to the content's name -> sync the folder ->
one transaction (instance, job, log) -> success -> ring.
"""

import logging
from dataclasses import dataclass

from django.db import connection, transaction

from archive.object_store import object_key, store
from ingest.spool import Spooled
from ingest.validation import Header, RefusedError, read_header
from processing.bell import ring
from processing.claiming import write_event

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

    """
    sha256 = file.make_safe()
    header = read_header(file.path)
    if study_uid and header.study_uid != study_uid:
        raise RefusedError("belongs to another study than the address says")
    store().put(file.path, object_key(sha256))
    with transaction.atomic():
        accepted, job = record(header, sha256, file.size, source)
        if job is not None:
            transaction.on_commit(lambda: ring(job, queue_of(header)))
    return accepted


def queue_of(header: Header) -> str:
    """The cost class of an instance's work."""
    return "large" if header.decoded_size > LARGE else "small"


def record(header: Header, sha256: str, size: int, source: str) -> tuple[Accepted, int | None]:
    """Write the rows of an instance; its job's id, or None where the same content was here before."""
    series_id = series_of(header)
    with connection.cursor() as cursor:
        # One at a time for each UID: of two contents that come at once, the second sees the first.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 5))", (header.sop_instance_uid,))
        cursor.execute(
            "INSERT INTO archive_instance (sop_instance_uid, sha256, series_id, sop_class_uid, transfer_syntax_uid,"
            " size, decoded_size, source, conflict) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, EXISTS"
            " (SELECT FROM archive_instance WHERE sop_instance_uid = %s AND sha256 <> %s))"
            " ON CONFLICT DO NOTHING RETURNING id, conflict",
            (
                *(header.sop_instance_uid, sha256, series_id, header.sop_class_uid, header.transfer_syntax_uid, size),
                *(header.decoded_size, source[:100], header.sop_instance_uid, sha256),
            ),
        )
        row = cursor.fetchone()
        if row is None:
            cursor.execute(
                "SELECT id FROM archive_instance WHERE sop_instance_uid = %s AND sha256 = %s",
                (header.sop_instance_uid, sha256),
            )
            return Accepted("again", cursor.fetchone()[0], header, sha256), None
        instance_id, conflict = row
        if conflict:
            cursor.execute(
                "UPDATE archive_instance SET conflict = true WHERE sop_instance_uid = %s", (header.sop_instance_uid,)
            )
        cursor.execute(
            "INSERT INTO processing_job (instance_id, queue, state, attempts, fence, worker, reason, rung_at)"
            " VALUES (%s, %s, 'queued', 0, 0, '', '', now()) RETURNING id",
            (instance_id, queue_of(header)),
        )
        job = cursor.fetchone()[0]
        outcome = "conflict" if conflict else "new"
        write_event(cursor, "received", instance_id, source, outcome)
    return Accepted(outcome, instance_id, header, sha256), job


SERIES = (
    "SELECT series.id FROM archive_series AS series JOIN archive_study AS study ON study.id = study_id"
    " WHERE study.uid = %s AND series.uid = %s"
)


def series_of(header: Header) -> int:
    """The id of an instance's series, made with its study where it is new."""
    key = (header.study_uid, header.series_uid)
    with connection.cursor() as cursor:
        cursor.execute(SERIES, key)
        row = cursor.fetchone()
        if row is None:
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
            cursor.execute(SERIES, key)
            row = cursor.fetchone()
    id_: int = row[0]
    return id_
