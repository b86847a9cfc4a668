"""Application entities, API tokens, submissions and shares."""

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models.functions import Coalesce, Now

from archive.models import Instance, Study


class ApiToken(models.Model):
    """A bearer token for HTTP. Only its SHA-256 is stored, so a stolen database grants no access."""

    digest = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=100, unique=True)
    # The person whose rights it has; without one, it sends, and reads what it sent.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True)
    group = models.ForeignKey(Group, models.SET_NULL, null=True)  # whose instances it reads, besides those it sent
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class ApplicationEntity(models.Model):
    """A DICOM application entity that may send and read, and from where; with a port it receives too."""

    title = models.CharField(primary_key=True, max_length=16)
    network = models.CharField(max_length=50)  # an address, or a network such as 10.1.0.0/16
    port = models.IntegerField(null=True)
    group = models.ForeignKey(Group, models.SET_NULL, null=True)  # whose instances it reads, besides those it sent
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.title


class Submission(models.Model):
    """An instance as sent by one sender: whoever sent the same content sees it, also the second one."""

    instance = models.ForeignKey(Instance, models.CASCADE, related_name="submissions")
    source = models.CharField(max_length=100)  # dicom:AE, http:TOKEN, user:NAME, folder:PATH
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True
    )  # the person who sent it, if it was one
    group = models.ForeignKey(Group, models.SET_NULL, null=True)  # the team that it was sent for
    submitted_at = models.DateTimeField(db_default=Now())

    class Meta:
        """One submission per instance, sender and team, and the permissions of the roles."""

        constraints: ClassVar = [
            models.UniqueConstraint("instance", "source", Coalesce("group", 0), name="one_submission"),
        ]
        indexes: ClassVar = [models.Index(fields=["source", "instance"], name="submissions_of_source")]
        permissions: ClassVar = [
            ("submit", "Can send images"),
            ("operate", "Can see everything, requeue, quarantine, share and drain"),
            ("audit", "Can read the audit log"),
            ("administer", "Can manage people, roles and teams"),
        ]


class StudyAccess(models.Model):
    """Who sent something of a study, as a person or for a team: a trigger adds a row with the first submission."""

    study = models.ForeignKey(Study, models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True)
    group = models.ForeignKey(Group, models.CASCADE, null=True)

    class Meta:
        """One row for each study, person and team."""

        constraints: ClassVar = [
            models.UniqueConstraint("study", Coalesce("user", 0), Coalesce("group", 0), name="one_study_access"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["user", "study"], name="studies_of_user"),
            models.Index(fields=["group", "study"], name="studies_of_group"),
        ]


class Share(models.Model):
    """A study that an operator shared with a team: images from the network belong to no person."""

    study = models.ForeignKey(Study, models.PROTECT)
    group = models.ForeignKey(Group, models.CASCADE)

    class Meta:
        """A study is shared with a team once."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["study", "group"], name="one_share")]
