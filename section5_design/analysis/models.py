"""Results: of the default analysis, one for each instance; of registered ones, the runs on their targets."""

import uuid
from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from archive.models import Instance, Study
from jobs.models import Job


class CurrentResults(models.Manager):
    """The results that no later version of the analysis superseded."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return the current results."""
        return super().get_queryset().filter(superseded=False)


class Result(models.Model):
    """The result of the default analysis of an instance, partitioned by month.

    Exactly one is current, since only one job can finish it; running the analysis again supersedes it.
    """

    pk = models.CompositePrimaryKey("instance_id", "at")
    instance = models.ForeignKey(Instance, models.DO_NOTHING, db_constraint=False)
    at = models.DateTimeField(db_default=Now())
    fencing_token = models.IntegerField()
    analysis = models.CharField(max_length=100, default="")  # dotted name of the function
    version = models.CharField(max_length=50, default="")
    figures = models.JSONField()
    preview = models.CharField(max_length=100, default="")  # key in the object store
    superseded = models.BooleanField(default=False)

    objects = CurrentResults()
    history = models.Manager()

    class Meta:
        """Created by the migration's SQL."""

        managed = False
        db_table = "analysis_result"


class AnalysisJob(models.Model):
    """A view of the analysis jobs, for joins with instances; changes go through `jobs.queue`."""

    State = Job.State

    instance = models.OneToOneField(Instance, models.DO_NOTHING, db_constraint=False, related_name="job")
    queue = models.CharField(max_length=5)
    state = models.CharField(max_length=11)
    attempts = models.IntegerField()
    fencing_token = models.IntegerField()
    next_run_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=100)
    reason = models.CharField(max_length=500)

    class Meta:
        """Created by the migration's SQL."""

        managed = False
        db_table = "analysis_job"


class Target(models.Model):
    """An instance, series or study that a registered analysis is for; its job runs again when images are added."""

    analysis = models.CharField(max_length=40)  # name in the registry
    scope = models.CharField(max_length=8)
    scope_id = models.BigIntegerField()  # of the instance, series or study
    study = models.ForeignKey(Study, models.CASCADE)
    waiting_since = models.DateTimeField(null=True)  # the first image that no run covers; null: none

    class Meta:
        """One target for each analysis."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["scope_id", "scope", "analysis"], name="one_target"),
        ]


class Run(models.Model):
    """A finished run of a registered analysis, its result; the latest is current, earlier ones stay readable."""

    target = models.ForeignKey(Target, models.CASCADE, related_name="runs")
    uid = models.UUIDField(default=uuid.uuid4)  # the UIDs of its DICOM instances are derived from it
    version = models.CharField(max_length=50)
    parameters = models.JSONField(default=dict)
    inputs = ArrayField(models.BigIntegerField())  # IDs of the instances that it covers, in the order of their files
    fencing_token = models.IntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(db_default=Now())
    isolated = models.BooleanField()  # a command without network; see sandbox.py
    figures = models.JSONField(default=dict)
    files = models.JSONField(default=list)  # {"kind": picture, mask or dicom, "name": ..., "key": in the object store}
    instances = ArrayField(models.BigIntegerField(), default=list)  # IDs of the DICOM instances made of it
    superseded = models.BooleanField(default=False)

    class Meta:
        """One current run for each target."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["target"], condition=models.Q(superseded=False), name="one_current_run"),
        ]
