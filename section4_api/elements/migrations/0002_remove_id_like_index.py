"""Remove the LIKE index of the id."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    """Django adds an index for LIKE to every text key, at the end of the migration that creates the table.

    The primary key's index serves LIKE here because of its collation C, and every insert is cheaper without the
    second one. Concurrently and outside a transaction, so that nobody waits.
    """

    atomic = False

    dependencies: ClassVar[list[tuple[str, str]]] = [("elements", "0001_initial")]

    operations: ClassVar = [
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS elements_element_id_9a1a0537_like",
            "CREATE INDEX CONCURRENTLY elements_element_id_9a1a0537_like ON elements_element (id varchar_pattern_ops)",
        ),
    ]
