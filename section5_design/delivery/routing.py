"""Which instances go where: rules are applied once to each instance, when it was stored."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.dispatch import receiver

from analysis.targets import RESULT_SOURCE
from archive.models import Instance, Series
from archive.signals import instances_erased, instances_stored
from audit.events import Subject
from delivery.models import Delivery, Destination, Rule
from jobs.queue import NewJob, delete_jobs, schedule

KIND = "delivery"
MAX_ATTEMPTS = 300  # of one delivery, with pauses of up to five minutes: more than a day
ANY = "*"


@receiver(instances_stored)
def route_instances(instances: Sequence[Instance], **_: Any) -> None:
    """Create the deliveries of stored instances."""
    ids = [one.pk for one in instances]
    for rule in Rule.objects.filter(enabled=True, destination__enabled=True).select_related("destination"):
        deliver(select_instances(rule).filter(pk__in=ids), rule.destination)


def select_instances(rule: Rule) -> QuerySet[Instance]:
    """Return the stored instances that a rule selects; never what its destination sent itself."""
    chosen = Instance.objects.all()
    if rule.analysis == ANY:
        chosen = chosen.filter(source__startswith=RESULT_SOURCE)
    elif rule.analysis:
        chosen = chosen.filter(source=f"{RESULT_SOURCE}{rule.analysis}")
    else:
        chosen = chosen.exclude(source__startswith=RESULT_SOURCE)
    if rule.modality:
        chosen = chosen.filter(series__modality=rule.modality)
    if rule.sop_class:
        chosen = chosen.filter(sop_class_uid=rule.sop_class)
    if rule.source_modality:
        sources = Series.objects.filter(study=OuterRef("series__study"), modality=rule.source_modality)
        chosen = chosen.filter(Exists(sources))
    if rule.destination.kind == Destination.Kind.DICOM:
        chosen = chosen.exclude(source=f"dicom:{rule.destination.title}")
    return chosen


def deliver(instances: QuerySet[Instance], destination: Destination, priority: int = 0) -> int:
    """Create deliveries, unless they exist, with their jobs; return how many are new."""
    fields = ("pk", "series__study__uid", "sop_class_uid", "sop_instance_uid")
    subjects = {row[0]: Subject(*row) for row in instances.order_by("pk").values_list(*fields)}
    with transaction.atomic():
        present = Delivery.objects.filter(destination=destination, instance__in=subjects)
        known = set(present.values_list("instance", flat=True))
        new = [pk for pk in subjects if pk not in known]
        Delivery.objects.bulk_create(
            [Delivery(destination=destination, instance_id=pk) for pk in new], ignore_conflicts=True, batch_size=1000
        )
        created = Delivery.objects.filter(destination=destination, instance__in=new).values_list("pk", "instance")
        schedule(KIND, [NewJob(pk, priority=priority, audit_subject=subjects[one]) for pk, one in created])
    return len(new)


def delete_deliveries(deliveries: QuerySet[Delivery]) -> None:
    """Delete deliveries with their jobs."""
    delete_jobs(KIND, list(deliveries.values_list("pk", flat=True)))
    deliveries.delete()


@receiver(instances_erased)
def forget_erased(instance_ids: Iterable[int], **_: Any) -> None:
    """Delete the deliveries of erased instances."""
    delete_deliveries(Delivery.objects.filter(instance__in=instance_ids))
