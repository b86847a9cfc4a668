"""Run delivery jobs: decrypt the instance to a file, send it, and pause destinations that do not answer.

Of the deliveries to a destination that is down, one attempt is made after each pause; the others wait without losing an
attempt. A few connections to a destination are open at a time, so that one that hangs holds few processes.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from analysis.models import Run
from analysis.sandbox import work_folder
from archive.encryption import ObjectIntegrityError
from archive.object_store import object_key, open_object
from audit.events import record_event
from core.deadline import DeadlineError, deadline
from delivery import dicom, http
from delivery.errors import RefusedError, UnavailableError
from delivery.models import Delivery, Destination
from jobs.handlers import JobError, PostponeError, RetryableError
from jobs.queue import Lease, parse_subject

MAX_ATTEMPTS = 300  # of one delivery, with pauses of up to five minutes: more than a day
MAX_PAUSE = 300
BUSY_SECONDS = 0.5
MAX_SECONDS = 90  # for one instance; less than TASK_SECONDS
CHUNK = 1 << 20


class DeliveryHandler:
    """The handler of delivery jobs; a job's subject is a delivery's ID."""

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
            with hold_connection(destination), deadline(MAX_SECONDS):
                send(delivery)
        except RefusedError as error:
            raise JobError(f"{destination.name} {error}") from None
        except (UnavailableError, DeadlineError) as error:
            pause(destination)
            reason = str(error) or f"did not answer within {MAX_SECONDS} seconds"
            raise RetryableError(f"{destination.name} {reason}") from None
        except ObjectIntegrityError as error:
            raise JobError(f"its object was altered: {error}") from error
        if destination.failures:
            Destination.objects.filter(pk=destination.pk).update(failures=0, paused_until=None)
        return destination.name

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


@contextmanager
def hold_connection(destination: Destination) -> Iterator[None]:
    """Hold one of the connections that may be open to a destination at a time, over all workers.

    Raises:
        PostponeError: all are in use.

    """
    with connection.cursor() as cursor:
        for number in range(destination.connections):
            key = f"delivery {destination.pk} {number}"
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 9))", (key,))
            if cursor.fetchone()[0]:
                break
        else:
            raise PostponeError(BUSY_SECONDS)
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 9))", (key,))


def send(delivery: Delivery) -> None:
    """Send an instance.

    Raises:
        RefusedError: the destination refused it.
        UnavailableError: the destination cannot be reached, or did not answer completely.

    """
    destination, instance = delivery.destination, delivery.instance
    if destination.kind == Destination.Kind.WEBHOOK:
        http.send_webhook(delivery, build_event(delivery))
        return
    with work_folder() as work:
        path = work / "inputs" / "instance.dcm"
        with open_object(object_key(instance.sha256)) as stored, path.open("wb") as file:
            shutil.copyfileobj(stored, file, CHUNK)
        if destination.kind == Destination.Kind.STOW:
            http.send_stow(destination, path)
        else:
            dicom.send(destination, instance, path)


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
