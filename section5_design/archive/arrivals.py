"""Announce stored instances to the apps above, exactly once: an outbox, filled by the statement that stores them."""

from django.db import connection, transaction

from archive.models import Instance
from archive.signals import instances_stored

BATCH = 500
CLAIM = """
    DELETE FROM archive_arrival WHERE instance_id IN (
        SELECT instance_id FROM archive_arrival ORDER BY instance_id LIMIT %s FOR UPDATE SKIP LOCKED
    ) RETURNING instance_id
"""


def announce_arrivals() -> bool:
    """Announce a batch of instances, in the transaction that removes them; return whether there may be more."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CLAIM, (BATCH,))
        ids = [pk for (pk,) in cursor.fetchall()]
        if ids:  # an erased instance has no row
            instances = Instance.objects.filter(pk__in=ids).select_related("series__study").order_by("pk")
            instances_stored.send(sender=Instance, instances=list(instances))
    return len(ids) == BATCH
