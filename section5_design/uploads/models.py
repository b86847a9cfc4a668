"""Uploads and their files."""

import uuid
from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models.functions import Now

from archive.models import Instance


class Upload(models.Model):
    """Files that a person sent together, optionally for one of their teams."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT)
    group = models.ForeignKey(Group, models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)


class UploadFile(models.Model):
    """A file of an upload. Its ID is its address while it is uploaded."""

    class State(models.TextChoices):
        """uploading -> one of the others, which are final."""

        UPLOADING = "uploading"
        NEW = "new"
        DUPLICATE = "duplicate"
        CONFLICT = "conflict"
        REFUSED = "refused"
        EXTRACTED = "extracted"  # a ZIP archive, whose members are files of their own
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    upload = models.ForeignKey(Upload, models.CASCADE, related_name="files")
    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="members")  # the archive that held it
    name = models.CharField(max_length=300)  # as the sender calls it; never used as a path
    size = models.BigIntegerField()  # bytes
    state = models.CharField(max_length=9, choices=State, default=State.UPLOADING)
    reason = models.CharField(max_length=300, default="")
    instance = models.ForeignKey(Instance, models.PROTECT, null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        """The files of an upload are listed in the order of their arrival."""

        indexes: ClassVar = [models.Index(fields=["upload", "created_at"], name="files_of_upload")]

    @property
    def path(self) -> Path:
        """Where its bytes are collected."""
        folder: Path = settings.UPLOAD_FOLDER
        return folder / self.id.hex
