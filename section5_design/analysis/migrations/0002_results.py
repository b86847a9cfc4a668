"""Results, partitioned by month, and the view of analysis jobs, which Django cannot create."""

from typing import Any, ClassVar

from django.db import migrations

from core.partitions import make_partitions_of

FORWARD = """
    CREATE TABLE analysis_result (
        instance_id bigint NOT NULL, at timestamptz NOT NULL DEFAULT now(), fencing_token integer NOT NULL,
        analysis varchar(100) NOT NULL DEFAULT '', version varchar(50) NOT NULL DEFAULT '',
        figures jsonb NOT NULL, preview varchar(100) NOT NULL DEFAULT '',
        superseded boolean NOT NULL DEFAULT false, PRIMARY KEY (instance_id, at)
    ) PARTITION BY RANGE (at);
    CREATE TABLE analysis_result_rest PARTITION OF analysis_result DEFAULT;
    CREATE VIEW analysis_job AS
        SELECT id, subject AS instance_id, queue, state, attempts, fencing_token, next_run_at, lease_until, worker,
            reason, kind
        FROM jobs_job WHERE kind = 'analysis';
"""


def make_partitions(*_: Any) -> None:
    """Create the partitions of this month and the next."""
    make_partitions_of("analysis_result")


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("analysis", "0001_initial"), ("jobs", "0002_attempts")]

    operations: ClassVar = [
        migrations.RunSQL(FORWARD, "DROP VIEW analysis_job; DROP TABLE analysis_result;"),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
    ]
