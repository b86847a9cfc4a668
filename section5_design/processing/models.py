"""Work as rows: what is to be done, what was tried, what came of it. The database is the truth, the broker a doorbell.

Attempts, results and events are partitioned by month (`partitions.py`); the key of each holds its time.
"""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from archive.models import Instance


class Job(models.Model):
    """The processing of an instance. Every change of state is a compare-and-set in `claiming.py`."""

    class State(models.TextChoices):
        """queued -> running -> done, or back to queued to try again, or quarantined until a person decides."""

        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        QUARANTINED = "quarantined"

    class Queue(models.TextChoices):
        """Cost classes, by decoded size: small work must not wait behind large."""

        SMALL = "small"
        LARGE = "large"

    instance = models.OneToOneField(Instance, models.PROTECT)
    queue = models.CharField(max_length=5, choices=Queue)
    state = models.CharField(max_length=11, choices=State, default=State.QUEUED)
    attempts = models.IntegerField(default=0)
    fence = models.IntegerField(default=0)  # rises with every claim; who writes must still hold the last one
    next_run_at = models.DateTimeField(db_default=Now())
    rung_at = models.DateTimeField(null=True)  # when a worker was last told
    lease_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=100, default="")
    reason = models.CharField(max_length=500, default="")  # of the last failure

    class Meta:
        """What the sweeper looks for, each by an index that holds nothing else."""

        indexes: ClassVar = [
            models.Index(fields=["next_run_at"], condition=models.Q(state="queued"), name="job_due"),
            models.Index(fields=["lease_until"], condition=models.Q(state="running"), name="job_leased"),
            models.Index(fields=["id"], condition=models.Q(state="quarantined"), name="job_quarantined"),
        ]


class Worker(models.Model):
    """A worker as it last said of itself."""

    name = models.CharField(primary_key=True, max_length=100)
    queues = models.CharField(max_length=50)
    started_at = models.DateTimeField(db_default=Now())
    beat_at = models.DateTimeField(db_default=Now())
    cpu_percent = models.FloatField(default=0)
    memory_percent = models.FloatField(default=0)
    doing = models.JSONField(default=list)  # ids of jobs
    state = models.CharField(max_length=10, default="working")  # working, full, draining, gone
    drain = models.BooleanField(default=False)  # somebody asks it to end


class Attempt(models.Model):
    """One try of a job."""

    pk = models.CompositePrimaryKey("job_id", "fence", "at")
    job = models.ForeignKey(Job, models.DO_NOTHING, db_constraint=False)
    fence = models.IntegerField()
    at = models.DateTimeField(db_default=Now())  # when it ended
    started_at = models.DateTimeField()
    worker = models.CharField(max_length=100)
    outcome = models.CharField(max_length=11)  # done, retry, quarantined, lost
    reason = models.CharField(max_length=500, default="")

    class Meta:
        """Made by the migration's SQL."""

        managed = False
        db_table = "processing_attempt"


class Result(models.Model):
    """What an instance's processing gave; exactly one, since only the holder of the last fence writes."""

    pk = models.CompositePrimaryKey("instance_id", "at")
    instance = models.ForeignKey(Instance, models.DO_NOTHING, db_constraint=False)
    at = models.DateTimeField(db_default=Now())
    fence = models.IntegerField()
    figures = models.JSONField()
    preview = models.CharField(max_length=100, default="")  # key in the object store

    class Meta:
        """Made by the migration's SQL."""

        managed = False
        db_table = "processing_result"


class Event(models.Model):
    """A line of the log of all processing: nothing is ever changed or removed, a trigger sees to that."""

    pk = models.CompositePrimaryKey("id", "at")
    id = models.BigIntegerField()
    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=20)
    instance = models.ForeignKey(Instance, models.DO_NOTHING, db_constraint=False, null=True)
    study_id = models.BigIntegerField(null=True)  # where it tells of a whole study
    actor = models.CharField(max_length=100)
    address = models.CharField(max_length=64, default="")  # of who asked
    detail = models.CharField(max_length=500)
    trace = models.CharField(max_length=32, default="")

    class Meta:
        """Made by the migration's SQL."""

        managed = False
        db_table = "processing_event"
