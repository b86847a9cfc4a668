"""The append-only log and its chain: raw SQL, since Django has neither partitions nor triggers."""

from typing import Any, ClassVar

from django.db import migrations

from core.partitions import make_partitions_of

FORWARD = """
    CREATE TABLE audit_event (
        id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT now(), kind varchar(20) NOT NULL,
        actor varchar(100) NOT NULL, address varchar(64) NOT NULL DEFAULT '', detail varchar(500) NOT NULL,
        correlation_id varchar(32) NOT NULL DEFAULT '', instance_id bigint,
        study_uid varchar(64) COLLATE "C" NOT NULL DEFAULT '', sop_class_uid varchar(64) NOT NULL DEFAULT '',
        sop_instance_uid varchar(64) COLLATE "C" NOT NULL DEFAULT '', PRIMARY KEY (id, at)
    ) PARTITION BY RANGE (at);
    CREATE INDEX audit_event_instance ON audit_event (instance_id) WHERE instance_id IS NOT NULL;
    CREATE INDEX audit_event_study_uid ON audit_event (study_uid, id) WHERE study_uid <> '';
    CREATE INDEX audit_event_sop_instance_uid ON audit_event (sop_instance_uid, id) WHERE sop_instance_uid <> '';
    CREATE TABLE audit_event_rest PARTITION OF audit_event DEFAULT;
    CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_event
        FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
    CREATE TRIGGER never_truncated BEFORE TRUNCATE ON audit_event
        FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
    CREATE TABLE audit_link (
        seq bigint PRIMARY KEY, event_id bigint NOT NULL UNIQUE, hash bytea NOT NULL, signature bytea
    );
    CREATE TABLE audit_checkpoint (
        month date PRIMARY KEY, seq bigint NOT NULL, hash bytea NOT NULL, signature bytea NOT NULL
    );
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_checkpoint
        FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
    CREATE TRIGGER never_truncated BEFORE TRUNCATE ON audit_checkpoint
        FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_link
        FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
    CREATE TRIGGER never_truncated BEFORE TRUNCATE ON audit_link
        FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
"""
BACKWARD = (
    "DROP TABLE audit_link; DROP TABLE audit_checkpoint; DROP TABLE audit_event; DROP FUNCTION audit_is_append_only;"
)


def make_partitions(*_: Any) -> None:
    """Create the partitions of this month and the next."""
    make_partitions_of("audit_event")


class Migration(migrations.Migration):
    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
    ]
