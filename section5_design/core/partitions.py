"""Tables partitioned by month, created ahead of time, so that a row never waits for its table.

An app names its tables in `partitioned_tables` of its AppConfig.
"""

from django.apps import apps
from django.db import connection

MONTHS_AHEAD = 2

CREATE = """
    SELECT format(
        'CREATE TABLE IF NOT EXISTS %%s_%%s PARTITION OF %%s FOR VALUES FROM (%%L) TO (%%L)',
        %(table)s, to_char(month, 'YYYYMM'), %(table)s, month, month + interval '1 month'
    )
    FROM generate_series(
        date_trunc('month', now()), date_trunc('month', now()) + make_interval(months => %(ahead)s), interval '1 month'
    ) AS month
"""


def partitioned_tables() -> list[str]:
    """Return the tables that the apps partition by month."""
    return [table for config in apps.get_app_configs() for table in getattr(config, "partitioned_tables", ())]


def make_partitions() -> None:
    """Create this month's and the next months' partitions of every table."""
    for table in partitioned_tables():
        make_partitions_of(table)


def make_partitions_of(table: str) -> None:
    """Create this month's and the next months' partitions of a table."""
    with connection.cursor() as cursor:
        cursor.execute(CREATE, {"table": table, "ahead": MONTHS_AHEAD})
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
