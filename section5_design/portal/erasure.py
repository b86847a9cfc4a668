"""Erasure (GDPR, article 17) and retention: studies go with all that was made of them; the log keeps that they went."""

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from archive.models import Instance, Series, Study
from archive.object_store import object_key, store
from audit.log import write_event
from portal.models import Item, Share, Upload

GATHER = """
    SELECT instance.id, sha256, coalesce(preview, '') FROM archive_instance AS instance
    JOIN archive_series AS series ON series.id = series_id
    LEFT JOIN processing_result AS result ON result.instance_id = instance.id
    WHERE study_id = %s FOR UPDATE OF instance
"""
REMOVE = (
    "DELETE FROM processing_result WHERE instance_id = ANY(%s)",
    "DELETE FROM processing_attempt WHERE job_id IN (SELECT id FROM processing_job WHERE instance_id = ANY(%s))",
    "DELETE FROM processing_job WHERE instance_id = ANY(%s)",
)


def of_patient(patient_id: str) -> QuerySet[Study]:
    """The studies of a patient, as their files name him or her."""
    return Study.objects.filter(patient_id=patient_id)


def older_than(days: int) -> QuerySet[Study]:
    """The studies of which nothing has come for so many days."""
    lately = Instance.objects.filter(series__study=OuterRef("pk"), received_at__gt=Now() - timedelta(days=days))
    return Study.objects.filter(~Exists(lately), created_at__lte=Now() - timedelta(days=days))


def erase(study: Study, actor: str, why: str) -> int:
    """Remove a study: rows in one transaction, then objects; how many images. A worker that is at it writes nothing.

    The names that people's files had go too, since a name may be a patient's.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        Study.objects.select_for_update().get(pk=study.pk)
        cursor.execute(GATHER, (study.pk,))
        found = cursor.fetchall()
        ids = sorted({instance_id for instance_id, _, _ in found})
        for statement in REMOVE:
            cursor.execute(statement, (ids,))
        uploads = set(Item.objects.filter(instance__in=ids).values_list("upload", flat=True))
        Item.objects.filter(instance__in=ids).delete()
        Item.objects.filter(upload__in=uploads, state=Item.State.OPENED).update(name="(erased)")
        Upload.objects.filter(pk__in=uploads, items=None).delete()
        Share.objects.filter(study=study).delete()
        Instance.objects.filter(pk__in=ids).delete()
        Series.objects.filter(study=study).delete()
        uid = study.uid
        study.delete()
        write_event(cursor, "erased", None, actor, f"{uid}: {len(ids)} images; {why}", study_id=study.pk)
    for _, sha256, preview in found:
        store().delete(object_key(sha256))
        if preview:
            store().delete(preview)
    return len(ids)
