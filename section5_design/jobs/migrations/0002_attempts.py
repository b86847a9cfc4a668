"""Attempts: a table partitioned by month, which Django cannot create."""

from typing import Any, ClassVar

from django.db import migrations

from core.partitions import make_partitions_of

FORWARD = """
    CREATE TABLE jobs_attempt (
        job_id bigint NOT NULL, fencing_token integer NOT NULL, at timestamptz NOT NULL DEFAULT now(),
        started_at timestamptz NOT NULL, worker varchar(100) NOT NULL, outcome varchar(11) NOT NULL,
        reason varchar(500) NOT NULL DEFAULT '', PRIMARY KEY (job_id, fencing_token, at)
    ) PARTITION BY RANGE (at);
    CREATE TABLE jobs_attempt_rest PARTITION OF jobs_attempt DEFAULT;
"""


def make_partitions(*_: Any) -> None:
    """Create the partitions of this month and the next."""
    make_partitions_of("jobs_attempt")


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("jobs", "0001_initial")]

    operations: ClassVar = [
        migrations.RunSQL(FORWARD, "DROP TABLE jobs_attempt"),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
    ]
