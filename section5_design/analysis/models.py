"""Results, and the analysis jobs as rows of their instances."""

from django.db import models
from django.db.models.functions import Now

from archive.models import Instance
from jobs.models import Job


class Result(models.Model):
    """The result of an instance's analysis, partitioned by month; exactly one, since only one job can finish it."""

    pk = models.CompositePrimaryKey("instance_id", "at")
    instance = models.ForeignKey(Instance, models.DO_NOTHING, db_constraint=False)
    at = models.DateTimeField(db_default=Now())
    fencing_token = models.IntegerField()
    analysis = models.CharField(max_length=100, default="")  # dotted name of the function
    version = models.CharField(max_length=50, default="")
    figures = models.JSONField()
    preview = models.CharField(max_length=100, default="")  # key in the object store

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
