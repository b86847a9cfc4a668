"""Which arriving studies start a search, once for each rule; a study that was fetched as a prior starts none."""

from collections.abc import Sequence
from typing import Any

from django.dispatch import receiver

from analysis.targets import RESULT_SOURCE
from archive.models import Instance, Study
from archive.signals import instances_erased, instances_stored
from audit.events import Subject
from jobs.queue import NewJob, delete_jobs, schedule
from priors.models import Prior, Rule, Search

SEARCH, FETCH = "prior search", "prior fetch"  # kinds of jobs; the subjects are a Search and a Prior
MAX_ATTEMPTS = 300  # with pauses of up to five minutes: more than a day
QUEUE = "large"  # whose jobs are claimed one at a time: a C-MOVE takes its time


@receiver(instances_stored)
def start_searches(instances: Sequence[Instance], **_: Any) -> None:
    """Search for the priors of the studies that instances belong to."""
    rules = list(Rule.objects.filter(enabled=True, archive__enabled=True))
    if not rules:
        return
    received = [one for one in instances if not one.source.startswith(RESULT_SOURCE)]
    uids = {one.series.study.uid for one in received}
    fetched = set(Prior.objects.filter(study_uid__in=uids).values_list("study_uid", flat=True))
    for rule in rules:
        chosen = [one for one in received if not rule.modality or one.series.modality == rule.modality]
        studies = {one.series.study_id: one.series.study for one in chosen}
        search(rule, [study for study in studies.values() if study.patient_id and study.uid not in fetched])


def search(rule: Rule, studies: Sequence[Study]) -> int:
    """Search for the priors of studies, unless that was done before; return how many searches are new."""
    found = Search.objects.filter(rule=rule, study__in=studies)
    known = set(found.values_list("study", flat=True))
    new = [study for study in studies if study.pk not in known]
    Search.objects.bulk_create([Search(rule=rule, study=study) for study in new], ignore_conflicts=True)
    created = Search.objects.filter(rule=rule, study__in=new).select_related("study")
    schedule(SEARCH, [NewJob(one.pk, QUEUE, audit_subject=Subject(study_uid=one.study.uid)) for one in created])
    return len(new)


def fetch(priors: Sequence[Prior]) -> None:
    """Fetch priors."""
    schedule(FETCH, [NewJob(one.pk, QUEUE, audit_subject=Subject(study_uid=one.study_uid)) for one in priors])


@receiver(instances_erased)
def forget_erased(study: Study, **_: Any) -> None:
    """Delete the searches of an erased study, and its own fetch."""
    searches, priors = Search.objects.filter(study=study), Prior.objects.filter(study_uid=study.uid)
    delete_jobs(SEARCH, list(searches.values_list("pk", flat=True)))
    delete_jobs(FETCH, list(priors.values_list("pk", flat=True)))
    searches.delete()
    priors.delete()
