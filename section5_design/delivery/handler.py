"""Run delivery jobs: decrypt the instance to a file, send it, and pause destinations that do not answer.

Of the deliveries to a destination that is down, one attempt is made after each pause; the others wait without losing an
attempt. A few connections to a destination are open at a time, so that one that hangs holds few processes.
"""

import shutil
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from analysis.models import Run
from analysis.sandbox import work_folder
from archive.encryption import ObjectIntegrityError
from archive.object_store import object_key, open_object
from audit.events import record_event
from core.deadline import DeadlineError, deadline
from delivery import http
from delivery.associations import Associations
from delivery.connections import hold_connection
from delivery.errors import RefusedError, UnavailableError
from delivery.models import Delivery, Destination
from jobs.handlers import JobError, PostponeError, RetryableError
from jobs.queue import Lease, parse_subject

MAX_PAUSE = 300
MAX_SECONDS = 90  # for one instance; less than TASK_SECONDS
CHUNK = 1 << 20


class DeliveryHandler:
    """The handler of delivery jobs; a job's subject is a delivery's ID."""

    def __init__(self) -> None:
        self._associations = Associations()

    def run(self, lease: Lease) -> str:
        """Send an instance and return the destination's name."""
        found = Delivery.objects.select_related("destination", "instance__series__study").filter(pk=lease.subject)
        delivery = found.first()
        if delivery is None:
            raise JobError("the instance was erased")
        destination = delivery.destination
        if not destination.enabled:
            raise JobError(f"{destination.name} is disabled")
        check_pause(destination)
        try:
            with deadline(MAX_SECONDS):
                self.send(delivery)
        except RefusedError as error:
            raise JobError(f"{destination.name} {error}") from None
        except (UnavailableError, DeadlineError) as error:
            self._associations.close(destination.pk, abort=True)
            pause(destination)
            reason = str(error) or f"did not answer within {MAX_SECONDS} seconds"
            raise RetryableError(f"{destination.name} {reason}") from None
        except ObjectIntegrityError as error:
            raise JobError(f"its object was altered: {error}") from error
        if destination.failures:
            Destination.objects.filter(pk=destination.pk).update(failures=0, paused_until=None)
        return destination.name

    def send(self, delivery: Delivery) -> None:
        """Send an instance.

        Raises:
            PostponeError: all connections to the destination are in use.
            RefusedError: the destination refused it.
            UnavailableError: the destination cannot be reached, or did not answer completely.

        """
        destination, instance = delivery.destination, delivery.instance
        if destination.kind == Destination.Kind.WEBHOOK:
            with hold_connection(destination):
                http.send_webhook(delivery, build_event(delivery))
            return
        with work_folder() as work:
            path = work / "inputs" / "instance.dcm"
            with open_object(object_key(instance.sha256)) as stored, path.open("wb") as file:
                shutil.copyfileobj(stored, file, CHUNK)
            if destination.kind == Destination.Kind.DICOM:
                self._associations.send(delivery, path)
                return
            with hold_connection(destination):
                http.send_stow(destination, path)

    def save(self, results: Sequence[tuple[Lease, str]]) -> None:
        """Record deliveries."""
        for lease, name in results:
            Delivery.objects.filter(pk=lease.subject).update(delivered_at=Now())
            record_event("delivered", lease.worker, f"to {name}", subject=parse_subject(lease.audit_subject))

    def discard(self, lease: Lease, result: str) -> None:
        """Do nothing: it is sent again under the same UID, which the destination recognises."""


def check_pause(destination: Destination) -> None:
    """Postpone a delivery while its destination is paused.

    Raises:
        PostponeError: it is.

    """
    if destination.paused_until and (left := (destination.paused_until - timezone.now()).total_seconds()) > 0:
        raise PostponeError(left)


def pause(destination: Destination) -> None:
    """Send nothing to a destination for a while, longer with each failure in succession."""
    seconds = min(MAX_PAUSE, 2 ** min(destination.failures, 10))
    Destination.objects.filter(pk=destination.pk).update(
        failures=F("failures") + 1, paused_until=Now() + timedelta(seconds=seconds)
    )


def build_event(delivery: Delivery) -> dict[str, object]:
    """Build the event of a webhook: UIDs, and of a result its analysis; no patient data."""
    instance = delivery.instance
    event: dict[str, object] = {
        "type": "instance.stored",
        "timestamp": instance.received_at.isoformat(),
        "study_uid": instance.series.study.uid,
        "series_uid": instance.series.uid,
        "sop_instance_uid": instance.sop_instance_uid,
        "sop_class_uid": instance.sop_class_uid,
        "modality": instance.series.modality,
        "source": instance.source,
    }
    run = Run.objects.filter(target__study=instance.series.study, instances__contains=[instance.pk]).first()
    if run:
        event |= {"version": run.version, "figures": run.figures}
    return event
