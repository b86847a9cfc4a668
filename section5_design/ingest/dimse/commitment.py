"""Storage Commitment Push Model (PS3.4, J): a modality asks whether its images are stored, before it deletes its own.

The request (N-ACTION) becomes a row; the commitment reporter hashes each object again and reports to the modality
(N-EVENT-REPORT) on a new association, with reattempts for a day.
"""

import io
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from accounts.models import ApplicationEntity
from archive.models import Instance
from archive.object_store import verify_object
from audit.events import record_event
from core.outage import report_outage
from ingest.dimse.association import ActionRequest
from ingest.dimse.messages import encode_file_start
from ingest.dimse.negotiation import STORAGE_COMMITMENT
from ingest.dimse.tls import client_context
from ingest.models import Commitment

log = logging.getLogger("section5.commitment")

ALL_SAFE, SOME_NOT = 1, 2  # PS3.4, J.3.3.1: event types
SUCCESS, PROCESSING_FAILURE, NO_SUCH_ARGUMENT, NO_SUCH_OBJECT, CLASS_CONFLICT = 0x0000, 0x0110, 0x0114, 0x0112, 0x0119
MAX_INSTANCES = 100_000  # in a request
MAX_ATTEMPTS, MAX_PAUSE = 200, 600  # more than a day together
LEASE = timedelta(minutes=30)  # of a report; a reporter that died is replaced after it
THREADS = 8


def handle_request(request: ActionRequest) -> int:
    """Handle an N-ACTION: save the request and return the status; the report follows later."""
    title = request.calling
    if not ApplicationEntity.objects.filter(pk=title, port__isnull=False).exists():
        log.warning("%s requests a commitment, but its port is unknown: manage.py ae add", title)
        return PROCESSING_FAILURE
    try:
        information = decode_data_set(request.data_set, request.transfer_syntax)
        requested = [
            (str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID))
            for one in information.ReferencedSOPSequence
        ]
        transaction_uid = str(information.TransactionUID)
    except Exception:  # noqa: BLE001  # pydicom raises all kinds of errors on malformed data
        return NO_SUCH_ARGUMENT
    if not requested or len(requested) > MAX_INSTANCES or len(transaction_uid) > 64:
        return NO_SUCH_ARGUMENT
    try:
        with transaction.atomic():
            Commitment.objects.create(transaction_uid=transaction_uid, application_entity=title, requested=requested)
    except IntegrityError:  # a repeated request is reported again
        Commitment.objects.filter(application_entity=title, transaction_uid=transaction_uid).update(
            requested=requested, reported_at=None, attempts=0, next_at=Now()
        )
    return SUCCESS


def decode_data_set(data_set: bytes, transfer_syntax: str) -> Dataset:
    """Decode a data set that came without file meta information."""
    start = encode_file_start(STORAGE_COMMITMENT, "", transfer_syntax)
    return dcmread(io.BytesIO(start + data_set))


class CommitmentReporter:
    """Reports due commitments in several threads, so that a silent entity delays only its own reports."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="commitment")
        self._free_slots = threading.Semaphore(threads)

    def run_once(self) -> None:
        """Start the due reports that a thread is free for; do not wait for them."""
        while self._free_slots.acquire(blocking=False):
            commitment = claim_due()
            if commitment is None:
                self._free_slots.release()
                return
            self._pool.submit(self._report, commitment)

    def close(self) -> None:
        """Wait for the reports that were started."""
        self._pool.shutdown()

    def _report(self, commitment: Commitment) -> None:
        try:
            finish_report(commitment, accepted=report(commitment))
        except (OperationalError, InterfaceError) as error:  # its lease ends, and it is reported again
            report_outage(error)
        finally:
            connection.close()
            self._free_slots.release()


def claim_due() -> Commitment | None:
    """Claim the commitment that is due the longest; of several reporters one gets it."""
    due = Q(reported_at=None, next_at__lte=Now(), attempts__lt=MAX_ATTEMPTS)
    with transaction.atomic():
        one = Commitment.objects.select_for_update(skip_locked=True).filter(due).order_by("next_at").first()
        if one is not None:
            Commitment.objects.filter(pk=one.pk).update(attempts=F("attempts") + 1, next_at=Now() + LEASE)
    return one


def finish_report(one: Commitment, *, accepted: bool) -> None:
    """Record a report: done, or due again after a pause."""
    if accepted:
        Commitment.objects.filter(pk=one.pk).update(reported_at=Now())
    else:
        pause = timedelta(seconds=min(MAX_PAUSE, 2 ** min(one.attempts, 10)))
        Commitment.objects.filter(pk=one.pk).update(next_at=Now() + pause)


def report(one: Commitment) -> bool:
    """Verify the instances and send the report; return whether the entity accepted it."""
    entity = ApplicationEntity.objects.filter(pk=one.application_entity, port__isnull=False).first()
    if entity is None:
        return False
    safe, failed = [], []
    for class_uid, instance_uid in one.requested:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, instance_uid
        if reason := find_failure_reason(class_uid, instance_uid):
            item.FailureReason = reason
            failed.append(item)
        else:
            safe.append(item)
    report_data = Dataset()
    report_data.TransactionUID = one.transaction_uid
    report_data.RetrieveAETitle = "SECTION5"
    if safe:
        report_data.ReferencedSOPSequence = Sequence(safe)
    if failed:
        report_data.FailedSOPSequence = Sequence(failed)
    if not send_report(entity, report_data, SOME_NOT if failed else ALL_SAFE):
        log.info(
            "%s did not accept the report of %s; it is repeated later", one.application_entity, one.transaction_uid
        )
        return False
    detail = f"{one.transaction_uid}: {len(safe)} stored, {len(failed)} failed"
    record_event("committed", f"dicom:{one.application_entity}", detail)
    return True


def find_failure_reason(class_uid: str, instance_uid: str) -> int:
    """Return the failure reason (PS3.4, J.3.3.1.3); 0 if the instance is stored as received."""
    found = list(Instance.objects.filter(sop_instance_uid=instance_uid))
    if not found:
        return NO_SUCH_OBJECT
    if all(one.sop_class_uid != class_uid for one in found):
        return CLASS_CONFLICT
    return PROCESSING_FAILURE if any(verify_object(one.sha256) for one in found) else SUCCESS


def send_report(entity: ApplicationEntity, report_data: Dataset, event_type: int) -> bool:
    """Send the report; return whether it was accepted."""
    from pynetdicom import AE, build_role  # the receiver does without
    from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

    ae = AE(ae_title="SECTION5")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 10
    ae.add_requested_context(StorageCommitmentPushModel)
    context = client_context()
    options: dict[str, Any] = {"tls_args": (context, entity.network)} if context else {}
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
    association = ae.associate(entity.network, entity.port, ae_title=entity.title, ext_neg=roles, **options)
    if not association.is_established:
        return False
    try:
        status, _ = association.send_n_event_report(
            report_data, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
    except (RuntimeError, ValueError):  # the role was not accepted, or the association ended
        return False
    finally:
        association.release()
    return status.get("Status") == SUCCESS
