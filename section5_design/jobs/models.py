"""Jobs, attempts and workers. PostgreSQL is the source of truth; the broker only wakes workers."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class Job(models.Model):
    """Work of one kind on one subject. Every change of state is a compare-and-set in `queue.py`."""

    class State(models.TextChoices):
        """queued -> running -> done, or back to queued for a retry, or quarantined until a person decides."""

        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        QUARANTINED = "quarantined"

    class Queue(models.TextChoices):
        """Cost classes: small jobs must not wait behind large ones."""

        SMALL = "small"
        LARGE = "large"
        GPU = "gpu"

    kind = models.CharField(max_length=30)
    subject = models.BigIntegerField()  # ID of the row that the job works on; the handler of the kind knows its table
    audit_subject = models.JSONField(default=dict)  # fields of audit.events.Subject, for the events of this job
    correlation_id = models.CharField(max_length=32, default="")
    queue = models.CharField(max_length=5, choices=Queue)
    priority = models.SmallIntegerField(default=0)  # the highest runs first
    state = models.CharField(max_length=11, choices=State, default=State.QUEUED)
    attempts = models.IntegerField(default=0)
    fencing_token = models.IntegerField(default=0)  # incremented by every claim; only its latest holder may write
    next_run_at = models.DateTimeField(db_default=Now())
    rerun_at = models.DateTimeField(null=True)  # scheduled again while it was running: when it runs once more
    lease_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=100, default="")
    reason = models.CharField(max_length=500, default="")  # of the last failure

    class Meta:
        """One partial index for each search: due jobs, expired leases, quarantined jobs."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["subject", "kind"], name="one_job")]
        indexes: ClassVar = [
            models.Index(
                fields=["queue", "-priority", "next_run_at"], condition=models.Q(state="queued"), name="jobs_due"
            ),
            models.Index(fields=["lease_until"], condition=models.Q(state="running"), name="jobs_leased"),
            models.Index(fields=["id"], condition=models.Q(state="quarantined"), name="jobs_quarantined"),
        ]


class Worker(models.Model):
    """A worker as of its last heartbeat."""

    name = models.CharField(primary_key=True, max_length=100)
    queues = models.CharField(max_length=50)
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    cpu_percent = models.FloatField(default=0)
    memory_percent = models.FloatField(default=0)
    current_jobs = models.JSONField(default=list)  # IDs
    state = models.CharField(max_length=10, default="working")  # working, full, draining, gone
    drain = models.BooleanField(default=False)  # an operator asked it to finish and stop


class Attempt(models.Model):
    """One attempt at a job, partitioned by month."""

    pk = models.CompositePrimaryKey("job_id", "fencing_token", "at")
    job = models.ForeignKey(Job, models.DO_NOTHING, db_constraint=False)
    fencing_token = models.IntegerField()
    at = models.DateTimeField(db_default=Now())  # when it ended
    started_at = models.DateTimeField()
    worker = models.CharField(max_length=100)
    outcome = models.CharField(max_length=11)  # done, retry, quarantined, lost
    reason = models.CharField(max_length=500, default="")

    class Meta:
        """Created by the migration's SQL."""

        managed = False
        db_table = "jobs_attempt"
