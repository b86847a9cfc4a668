"""Erasure (GDPR, article 17) and retention: delete studies with everything derived; the audit log records it."""

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from archive.garbage import delete_if_unreferenced
from archive.models import Instance, Series, Study
from archive.object_store import store
from archive.signals import instances_erased
from audit.events import Subject, record_event


def find_by_patient(patient_id: str) -> QuerySet[Study]:
    """Return the studies of a patient, by the patient ID in their files."""
    return Study.objects.filter(patient_id=patient_id)


def find_older_than(days: int) -> QuerySet[Study]:
    """Return the studies that received nothing for this many days."""
    lately = Instance.objects.filter(series__study=OuterRef("pk"), received_at__gt=Now() - timedelta(days=days))
    return Study.objects.filter(~Exists(lately), created_at__lte=Now() - timedelta(days=days))


def erase_study(study: Study, actor: str, reason: str) -> int:
    """Erase a study: its rows in one transaction, then its objects; return the number of images.

    A worker that is processing one of its images finds its job gone and writes nothing.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        Study.objects.select_for_update().get(pk=study.pk)
        instances = Instance.objects.filter(series__study=study)
        found = list(instances.select_for_update(of=("self",)).values_list("pk", "sha256"))
        ids = [pk for pk, _ in found]
        answers = instances_erased.send(sender=Study, instance_ids=ids, study=study)
        keys = [key for _, answer in answers for key in answer or ()]
        instances.delete()
        Series.objects.filter(study=study).delete()
        subject = Subject(study_uid=study.uid)
        record_event("erased", actor, f"{len(ids)} images; {reason}", subject=subject, cursor=cursor)
        study.delete()
    for _, sha256 in found:
        delete_if_unreferenced(sha256)
    for key in keys:
        store().delete(key)
    return len(ids)
