"""One index less."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    """Django adds an index for LIKE to every text key, at the end of the migration that makes the table.

    The key's own index serves LIKE here, by its collation C, and every insert is cheaper for it. Without a transaction
    around it, and concurrently: nobody who reads or writes meanwhile has to wait.
    """

    atomic = False

    dependencies: ClassVar[list[tuple[str, str]]] = [("elements", "0001_initial")]

    operations: ClassVar = [
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS elements_element_id_9a1a0537_like",
            "CREATE INDEX CONCURRENTLY elements_element_id_9a1a0537_like ON elements_element (id varchar_pattern_ops)",
        ),
    ]
