"""Storage Commitment Push Model (PS3.4, J): a modality asks whether its images are safe, before it deletes its own.

The request (N-ACTION) becomes a row; the sweeper looks at each object, by hashing it anew, and calls the modality back
(N-EVENT-REPORT) on an association of its own, again and again for a day where it does not answer.
"""

import logging
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from archive.models import Instance, Peer
from archive.object_store import fault_of
from audit.log import note
from ingest.models import Commitment
from ingest.peers import client_context

log = logging.getLogger("section5.commitment")

ALL_SAFE, SOME_NOT = 1, 2  # PS3.4, J.3.3.1: event types
SUCCESS, PROCESSING_FAILURE, NO_SUCH_ARGUMENT, NO_SUCH_OBJECT, CLASS_CONFLICT = 0x0000, 0x0110, 0x0114, 0x0112, 0x0119
MOST = 100_000  # instances in a request
TRIES, LONGEST_PAUSE = 200, 600  # together a day and more


def asked_for(event: evt.Event) -> tuple[int, Dataset | None]:
    """An N-ACTION: keep what is asked; the answer comes later."""
    title = str(event.assoc.requestor.ae_title).strip()
    peer = Peer.objects.filter(pk=title, port__isnull=False).first()
    if peer is None:
        log.warning("%s asks for a commitment, and no port is known to answer it: manage.py peer add", title)
        return PROCESSING_FAILURE, None
    try:
        wanted = event.action_information
        asked = [
            (str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID)) for one in wanted.ReferencedSOPSequence
        ]
        transaction_uid = str(wanted.TransactionUID)
    except Exception:  # noqa: BLE001  # pydicom raises whatever broken bytes lead to
        return NO_SUCH_ARGUMENT, None
    if not asked or len(asked) > MOST or len(transaction_uid) > 64:
        return NO_SUCH_ARGUMENT, None
    try:
        with transaction.atomic():
            Commitment.objects.create(transaction_uid=transaction_uid, peer=title, asked=asked)
    except IntegrityError:  # it asks again: it is told again
        Commitment.objects.filter(peer=title, transaction_uid=transaction_uid).update(
            asked=asked, reported_at=None, tries=0, next_at=Now()
        )
    return SUCCESS, None


def report_due() -> int:
    """Answer what is due; how many were answered."""
    due = Q(reported_at=None, next_at__lte=Now(), tries__lt=TRIES)
    done = 0
    for one in Commitment.objects.filter(due).order_by("next_at")[:20]:
        pause = timedelta(seconds=min(LONGEST_PAUSE, 2 ** min(one.tries, 10)))
        mine = Commitment.objects.filter(pk=one.pk, tries=one.tries)  # of two sweepers, one
        if not mine.update(tries=F("tries") + 1, next_at=Now() + pause):
            continue
        if answer(one):
            Commitment.objects.filter(pk=one.pk).update(reported_at=Now())
            done += 1
    return done


def answer(one: Commitment) -> bool:
    """Look, and call back; whether the peer took it."""
    peer = Peer.objects.filter(pk=one.peer, port__isnull=False).first()
    if peer is None:
        return False
    safe, failed = [], []
    for class_uid, instance_uid in one.asked:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, instance_uid
        if reason := failure_of(class_uid, instance_uid):
            item.FailureReason = reason
            failed.append(item)
        else:
            safe.append(item)
    told = Dataset()
    told.TransactionUID = one.transaction_uid
    told.RetrieveAETitle = "SECTION5"
    if safe:
        told.ReferencedSOPSequence = Sequence(safe)
    if failed:
        told.FailedSOPSequence = Sequence(failed)
    if not call(peer, told, SOME_NOT if failed else ALL_SAFE):
        log.info("%s does not take the answer to %s; it is told again later", one.peer, one.transaction_uid)
        return False
    note("committed", f"dicom:{one.peer}", f"{one.transaction_uid}: {len(safe)} safe, {len(failed)} not")
    return True


def failure_of(class_uid: str, instance_uid: str) -> int:
    """The failure reason (PS3.4, J.3.3.1.3); 0 where the instance is here, and its bytes are as they came."""
    found = list(Instance.objects.filter(sop_instance_uid=instance_uid))
    if not found:
        return NO_SUCH_OBJECT
    if all(one.sop_class_uid != class_uid for one in found):
        return CLASS_CONFLICT
    return PROCESSING_FAILURE if any(fault_of(one.sha256) for one in found) else SUCCESS


def call(peer: Peer, told: Dataset, event_type: int) -> bool:
    """Send the report; whether it was taken."""
    entity = AE(ae_title="SECTION5")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = 10
    entity.add_requested_context(StorageCommitmentPushModel)
    context = client_context()
    options: dict[str, Any] = {"tls_args": (context, peer.network)} if context else {}
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
    association = entity.associate(peer.network, peer.port, ae_title=peer.title, ext_neg=roles, **options)
    if not association.is_established:
        return False
    try:
        status, _ = association.send_n_event_report(
            told, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
    except (RuntimeError, ValueError):  # the peer did not accept the role, or the association ended
        return False
    finally:
        association.release()
    return status.get("Status") == SUCCESS
