"""What people may do with deliveries: set destinations and rules, try a rule, send and resend."""

import base64
import secrets
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery

from archive.encryption import encrypt_text
from archive.models import Instance
from audit.events import Subject, record_event
from delivery.models import Delivery, Destination, Rule
from delivery.routing import KIND, delete_deliveries, deliver, select_instances
from jobs.models import Job
from jobs.queue import NewJob, requeue, schedule

__all__ = [
    "deliver",
    "list_deliveries",
    "preview_rule",
    "resend",
    "save_destination",
    "save_rule",
    "send_stored",
    "send_studies",
]

EXAMPLES = 20


@dataclass(frozen=True)
class Preview:
    """What a rule would send of what is stored."""

    selected: int
    delivered: int  # of them, which have a delivery already
    examples: list[Instance]


@transaction.atomic
def save_destination(destination: Destination, actor: str, secret: str = "") -> str:
    """Create or change a destination; return the key of its signatures if it is a new webhook.

    Args:
        destination: the destination.
        actor: for the audit log.
        secret: the bearer token of a STOW-RS service; by default the present one is kept.

    Raises:
        ValidationError: it is not complete.

    """
    destination.full_clean()
    created = ""
    if destination.kind == Destination.Kind.WEBHOOK and not destination.secret:
        secret = created = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    if secret:
        destination.secret = encrypt_text(secret)
    destination.save()
    record_event("destination", actor, f"{destination.name} is {destination.address}")
    return created


@transaction.atomic
def remove_destination(destination: Destination, actor: str) -> None:
    """Remove a destination with its rules and deliveries."""
    record_event("destination", actor, f"{destination.name} removed")
    delete_deliveries(destination.deliveries.all())
    destination.delete()


@transaction.atomic
def save_rule(rule: Rule, actor: str) -> None:
    """Create or change a rule; it applies to what is stored from now on."""
    rule.full_clean()
    rule.save()
    record_event("destination", actor, f"rule {rule.pk}: {rule}{'' if rule.enabled else ' (disabled)'}")


@transaction.atomic
def remove_rule(rule: Rule, actor: str) -> None:
    """Remove a rule; its deliveries go on."""
    record_event("destination", actor, f"rule {rule.pk} removed: {rule}")
    rule.delete()


def preview_rule(rule: Rule) -> Preview:
    """Try a rule on what is stored, without sending; the rule need not be saved."""
    selected = select_instances(rule)
    known = Delivery.objects.filter(instance=OuterRef("pk"), destination=rule.destination)
    delivered = selected.filter(Exists(known)).count() if rule.destination.pk else 0
    examples = selected.select_related("series__study").order_by("-pk")[:EXAMPLES]
    return Preview(selected.count(), delivered, list(examples))


def send_stored(rule: Rule, actor: str) -> int:
    """Send what is stored and a rule selects, unless it was sent before; return how many are new."""
    with transaction.atomic():
        count = deliver(select_instances(rule), rule.destination)
        record_event("destination", actor, f"{count} stored instances by rule {rule.pk}: {rule}")
    return count


def send_studies(instances: QuerySet[Instance], destination: Destination, actor: str, address: str = "") -> int:
    """Send the instances of studies to a destination, unless they were sent before; return how many are new."""
    with transaction.atomic():
        for uid in instances.order_by().values_list("series__study__uid", flat=True).distinct():
            record_event("sent", actor, f"to {destination.name}", subject=Subject(study_uid=uid), address=address)
        return deliver(instances, destination)


def resend(delivery: Delivery, actor: str) -> None:
    """Send an instance again, quarantined or delivered."""
    job = Job.objects.filter(kind=KIND, subject=delivery.pk).first()
    if job is not None and requeue(job.pk, actor):
        return
    one = delivery.instance
    subject = Subject(one.pk, one.series.study.uid, one.sop_class_uid, one.sop_instance_uid)
    with transaction.atomic():
        schedule(KIND, [NewJob(delivery.pk, audit_subject=subject)])
        record_event("requeued", actor, f"to {delivery.destination.name}", subject=subject)


def list_deliveries() -> QuerySet[Delivery]:
    """Return deliveries with `state`, `reason` and `attempts` of their jobs, the latest first."""
    job = Job.objects.filter(kind=KIND, subject=OuterRef("pk"))
    state, reason, attempts = (Subquery(job.values(name)) for name in ("state", "reason", "attempts"))
    found = Delivery.objects.annotate(state=state, reason=reason, attempts=attempts)
    return found.select_related("destination", "instance__series__study").order_by("-pk")
