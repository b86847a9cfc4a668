"""Announce stored instances, and the end of their associations, to the apps above, exactly once: an outbox.

It is filled by the statement that stores an instance, and when an association is released.
"""

from django.db import connection, transaction

from archive.models import Instance, Release
from archive.signals import association_released, instances_stored

BATCH = 500
CLAIM = """
    DELETE FROM archive_arrival WHERE instance_id IN (
        SELECT instance_id FROM archive_arrival ORDER BY instance_id LIMIT %s FOR UPDATE SKIP LOCKED
    ) RETURNING instance_id
"""


def announce_arrivals() -> bool:
    """Announce a batch of instances, in the transaction that removes them; return whether there may be more.

    Released associations follow when no instance is left: those that are seen first brought none that is seen later.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        releases = list(Release.objects.select_for_update(skip_locked=True))
        cursor.execute(CLAIM, (BATCH,))
        ids = [pk for (pk,) in cursor.fetchall()]
        if ids:
            instances_stored.send(sender=Instance, instances=load_instances(ids))
        if len(ids) == BATCH:
            return True
        for release in releases:
            association_released.send(sender=Release, instances=load_instances(release.instances))
            release.delete()
    return False


def load_instances(ids: list[int]) -> list[Instance]:
    """Return instances with their series and studies; an erased instance has no row."""
    return list(Instance.objects.filter(pk__in=ids).select_related("series__study").order_by("pk"))
