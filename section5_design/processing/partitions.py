"""Tables partitioned by month: made ahead of time, so that a row never waits for its table."""

from django.db import connection

TABLES = ("processing_attempt", "processing_result", "processing_event")
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


def make_partitions() -> None:
    """Make this month's and the next months' partitions, where they are missing."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(CREATE, {"table": table, "ahead": MONTHS_AHEAD})
            for (statement,) in cursor.fetchall():
                cursor.execute(statement)
