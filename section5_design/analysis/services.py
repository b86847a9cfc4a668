"""What people may do with analyses: see which there are, and run one again on stored studies."""

from collections.abc import Iterator
from itertools import islice

from django.db import transaction
from django.db.models import QuerySet

from analysis.handler import KIND, choose_queue
from analysis.registry import DEFAULT, Analysis, get_analysis, list_analyses
from analysis.targets import SCOPE_FIELDS, schedule_targets, select_instances
from archive.models import Instance, Study
from audit.events import Subject, record_event
from jobs.queue import NewJob, schedule

__all__ = ["list_analyses", "run_again"]

LOW = -10  # priority: below everything that arrives
BATCH = 1000


def run_again(studies: QuerySet[Study], analysis: str, actor: str) -> int:
    """Run an analysis on stored studies, whether or not it ran before; return the number of jobs.

    Its jobs wait for everything that arrives. The present results stay current until the new ones are complete, and
    readable after that.

    Args:
        studies: the studies.
        analysis: its name in the registry.
        actor: for the audit log.

    Raises:
        KeyError: it is not registered.

    """
    found = get_analysis(analysis)
    instances = Instance.objects if found.name == DEFAULT else select_instances(found)
    chosen = instances.filter(series__study__in=studies).select_related("series__study").order_by("pk")
    with transaction.atomic():
        record_event("run again", actor, f"{found.name} {found.version} on {studies.count()} studies")
        if found.name == DEFAULT:
            return schedule_default(chosen)
        return schedule_registered(found, chosen)


def schedule_default(instances: QuerySet[Instance]) -> int:
    """Schedule the default analysis; return the number of jobs."""
    count = 0
    for batch in iter_batches(instances):
        jobs = []
        for one in batch:
            subject = Subject(one.pk, one.series.study.uid, one.sop_class_uid, one.sop_instance_uid)
            jobs.append(NewJob(one.pk, choose_queue(one.decoded_size), LOW, audit_subject=subject))
        schedule(KIND, jobs)
        count += len(jobs)
    return count


def schedule_registered(analysis: Analysis, instances: QuerySet[Instance]) -> int:
    """Schedule a registered analysis; return the number of jobs."""
    field = SCOPE_FIELDS[analysis.scope]
    one_of_each = instances.order_by(field, "pk").distinct(field)
    return sum(schedule_targets(analysis, batch, 0, LOW) for batch in iter_batches(one_of_each))


def iter_batches(instances: QuerySet[Instance]) -> Iterator[list[Instance]]:
    """Iterate over instances in lists of a thousand."""
    found = instances.iterator(BATCH)
    while batch := list(islice(found, BATCH)):
        yield batch
