"""Storage commitments that were requested, until they are reported."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class Commitment(models.Model):
    """An application entity's request to confirm that instances are stored; the report goes back to it."""

    transaction_uid = models.CharField(max_length=64)
    application_entity = models.CharField(max_length=16)  # AE title
    requested = models.JSONField()  # pairs of SOP Class and SOP Instance UID
    created_at = models.DateTimeField(db_default=Now())
    attempts = models.IntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now())
    reported_at = models.DateTimeField(null=True)

    class Meta:
        """A transaction is requested once; a repeated request is reported again."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["application_entity", "transaction_uid"], name="one_transaction")
        ]
        indexes: ClassVar = [
            models.Index(fields=["next_at"], condition=models.Q(reported_at=None), name="commitment_due"),
        ]
