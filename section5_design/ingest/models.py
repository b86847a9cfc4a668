"""Storage commitments that were asked for, until they are reported."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class Commitment(models.Model):
    """A peer asks whether instances are safe here; it is called back with the answer."""

    transaction_uid = models.CharField(max_length=64)
    peer = models.CharField(max_length=16)  # AE title
    asked = models.JSONField()  # pairs of SOP Class and SOP Instance UID
    created_at = models.DateTimeField(db_default=Now())
    tries = models.IntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now())
    reported_at = models.DateTimeField(null=True)

    class Meta:
        """The same transaction again is the same."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["peer", "transaction_uid"], name="one_transaction")]
        indexes: ClassVar = [
            models.Index(fields=["next_at"], condition=models.Q(reported_at=None), name="commitment_due"),
        ]
