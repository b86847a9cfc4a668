"""The log tells also who saw and took what, and is chained by hash. Only adds: the version before goes on beside."""

from typing import ClassVar

from django.db import migrations

FORWARD = """
    ALTER TABLE processing_event
        ADD COLUMN study_id bigint,
        ADD COLUMN address varchar(64) NOT NULL DEFAULT '',
        ADD COLUMN trace varchar(32) NOT NULL DEFAULT '';
    CREATE INDEX processing_event_study ON processing_event (study_id) WHERE study_id IS NOT NULL;
    CREATE TRIGGER never_emptied BEFORE TRUNCATE ON processing_event
        FOR EACH STATEMENT EXECUTE FUNCTION processing_event_is_final();
    CREATE TABLE audit_link (
        seq bigint PRIMARY KEY, event_id bigint NOT NULL UNIQUE, hash bytea NOT NULL, signature bytea
    );
    CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE ON audit_link
        FOR EACH ROW EXECUTE FUNCTION processing_event_is_final();
    CREATE TRIGGER never_emptied BEFORE TRUNCATE ON audit_link
        FOR EACH STATEMENT EXECUTE FUNCTION processing_event_is_final();
"""
BACKWARD = """
    DROP TABLE audit_link;
    DROP TRIGGER never_emptied ON processing_event;
    DROP INDEX processing_event_study;
    ALTER TABLE processing_event DROP COLUMN study_id, DROP COLUMN address, DROP COLUMN trace;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("processing", "0003_worker_drain")]

    operations: ClassVar = [migrations.RunSQL(FORWARD, BACKWARD)]
