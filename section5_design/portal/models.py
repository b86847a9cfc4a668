"""What people sent by hand, and what they share."""

import uuid
from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models.functions import Now

from archive.models import Instance, Study


class Upload(models.Model):
    """Files that somebody sent together, for themselves or for a group of theirs too."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT)
    group = models.ForeignKey(Group, models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        """Who may do what, beside what Django has for each model."""

        permissions: ClassVar = [
            ("operate", "Can see everything, requeue, quarantine, share and drain"),
            ("audit", "Can read the log of who did what"),
        ]


class Item(models.Model):
    """A file of an upload. Its id is its address while it arrives."""

    class State(models.TextChoices):
        """arriving -> one of the others, and that is final."""

        ARRIVING = "arriving"
        NEW = "new"
        AGAIN = "again"
        CONFLICT = "conflict"
        REFUSED = "refused"
        OPENED = "opened"  # an archive, whose members are items of their own
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    upload = models.ForeignKey(Upload, models.CASCADE, related_name="items")
    name = models.CharField(max_length=300)  # as the sender calls it; never a path here
    size = models.BigIntegerField()  # bytes
    state = models.CharField(max_length=9, choices=State, default=State.ARRIVING)
    reason = models.CharField(max_length=300, default="")
    instance = models.ForeignKey(Instance, models.PROTECT, null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        """An upload's files come in the order of their arrival."""

        indexes: ClassVar = [models.Index(fields=["upload", "created_at"], name="items_of_upload")]

    @property
    def path(self) -> Path:
        """Where its bytes are gathered."""
        folder: Path = settings.ARRIVING_FOLDER
        return folder / self.id.hex


class Share(models.Model):
    """A study that an operator showed to a group: what came over the network belongs to nobody yet."""

    study = models.ForeignKey(Study, models.PROTECT)
    group = models.ForeignKey(Group, models.CASCADE)

    class Meta:
        """Once is enough."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["study", "group"], name="one_share")]
