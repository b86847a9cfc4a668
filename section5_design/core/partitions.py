"""Tables partitioned by month, created ahead of time, so that a row never waits for its table.

An app names its tables in `partitioned_tables` of its AppConfig. A row without a partition goes to the default one,
`TABLE_rest`: after a clock was wrong, or the janitor did not run for months. It is moved to its month from there, since
PostgreSQL refuses to create a partition while the default one has rows of its range.
"""

from datetime import datetime

from django.apps import apps
from django.db import connection, transaction

MONTHS_AHEAD = 2

CREATE = """
    SELECT format(
        'CREATE TABLE IF NOT EXISTS %%s_%%s PARTITION OF %%s FOR VALUES FROM (%%L) TO (%%L)',
        %(table)s, to_char(month, 'YYYYMM'), %(table)s, month, month + interval '1 month'
    )
    FROM generate_series(
        date_trunc('month', %(first)s::timestamptz),
        date_trunc('month', %(first)s::timestamptz) + make_interval(months => %(ahead)s), interval '1 month'
    ) AS month
"""


def partitioned_tables() -> list[str]:
    """Return the tables that the apps partition by month."""
    return [table for config in apps.get_app_configs() for table in getattr(config, "partitioned_tables", ())]


def make_partitions() -> None:
    """Create this month's and the next months' partitions of every table."""
    for table in partitioned_tables():
        make_partitions_of(table)


def make_partitions_of(table: str, moment: datetime | str = "now") -> None:
    """Create the partitions of a moment's month and the next months, and move rows out of the default partition."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT FROM {table}_rest)")  # noqa: S608  # a constant of an AppConfig
        if cursor.fetchone()[0]:
            empty_default_partition(table)
    create_months(table, moment, MONTHS_AHEAD)


def create_months(table: str, first: datetime | str, ahead: int) -> None:
    """Create the partition of a month, and of some months after it."""
    with connection.cursor() as cursor:
        cursor.execute(CREATE, {"table": table, "first": first, "ahead": ahead})
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)


def empty_default_partition(table: str) -> None:
    """Replace the default partition by an empty one and insert its rows again, each into its month.

    Nothing is updated or deleted, which the audit log forbids; writers wait for the transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {table}_rest")
        cursor.execute(f"ALTER TABLE {table}_rest RENAME TO {table}_moving")
        cursor.execute(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")
        cursor.execute(f"SELECT DISTINCT date_trunc('month', at) FROM {table}_moving")  # noqa: S608
        for (month,) in cursor.fetchall():
            create_months(table, month, 0)
        cursor.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {table}_moving")  # noqa: S608
        cursor.execute(f"DROP TABLE {table}_moving")
