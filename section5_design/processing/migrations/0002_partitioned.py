"""Attempts, results and events: tables partitioned by month, and a log that nobody changes."""

from typing import Any, ClassVar

from django.db import migrations

from processing.partitions import make_partitions

FORWARD = """
    CREATE TABLE processing_attempt (
        job_id bigint NOT NULL, fence integer NOT NULL, at timestamptz NOT NULL DEFAULT now(),
        started_at timestamptz NOT NULL, worker varchar(100) NOT NULL, outcome varchar(11) NOT NULL,
        reason varchar(500) NOT NULL DEFAULT '', PRIMARY KEY (job_id, fence, at)
    ) PARTITION BY RANGE (at);
    CREATE TABLE processing_result (
        instance_id bigint NOT NULL, at timestamptz NOT NULL DEFAULT now(), fence integer NOT NULL,
        figures jsonb NOT NULL, preview varchar(100) NOT NULL DEFAULT '', PRIMARY KEY (instance_id, at)
    ) PARTITION BY RANGE (at);
    CREATE TABLE processing_event (
        id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT now(), kind varchar(20) NOT NULL,
        instance_id bigint, actor varchar(100) NOT NULL, detail varchar(500) NOT NULL, PRIMARY KEY (id, at)
    ) PARTITION BY RANGE (at);
    CREATE INDEX processing_event_instance ON processing_event (instance_id);
    CREATE TABLE processing_attempt_rest PARTITION OF processing_attempt DEFAULT;
    CREATE TABLE processing_result_rest PARTITION OF processing_result DEFAULT;
    CREATE TABLE processing_event_rest PARTITION OF processing_event DEFAULT;
    CREATE FUNCTION processing_event_is_final() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the log of all processing is only added to'; END $$;
    CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE ON processing_event
        FOR EACH ROW EXECUTE FUNCTION processing_event_is_final();
"""
BACKWARD = """
    DROP TABLE processing_attempt;
    DROP TABLE processing_result;
    DROP TABLE processing_event;
    DROP FUNCTION processing_event_is_final;
"""


def partitions(*_: Any) -> None:
    """Those of now and of the next months."""
    make_partitions()


class Migration(migrations.Migration):
    """Raw SQL: Django has no partitions."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("processing", "0001_initial")]

    operations: ClassVar = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunPython(partitions, migrations.RunPython.noop),
    ]
