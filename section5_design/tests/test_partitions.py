"""Partitions by month: at the end of a month and a year, after a wrong clock, and after the janitor did not run."""

import pytest
from django.db import connection

from core.partitions import make_partitions, make_partitions_of, partitioned_tables

pytestmark = pytest.mark.django_db(transaction=True)


def execute(statement: str, *values: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


def insert_event(at: str) -> None:
    execute("INSERT INTO audit_event (kind, actor, detail, at) VALUES ('login', 'user:clock', '', %s)", at)


def partition_of(at: str) -> str:
    statement = "SELECT tableoid::regclass::text FROM audit_event WHERE actor = 'user:clock' AND at = %s"
    ((table,),) = execute(statement, at)
    return str(table)


@pytest.fixture(autouse=True)
def _clean() -> None:
    for month in ("203112", "203201", "203202", "203203", "201905"):
        execute(f"DROP TABLE IF EXISTS audit_event_{month}")
    make_partitions()


def test_the_months_after_a_year_s_end_have_partitions() -> None:
    make_partitions_of("audit_event", "2031-12-31T23:59:59Z")
    for at, month in (("2031-12-31T23:59:59Z", "203112"), ("2032-01-01T00:00:00Z", "203201")):
        insert_event(at)
        assert partition_of(at) == f"audit_event_{month}"


def test_a_row_that_came_before_its_partition_is_moved_into_it() -> None:
    insert_event("2032-03-05T12:00:00Z")
    assert partition_of("2032-03-05T12:00:00Z") == "audit_event_rest"
    make_partitions()
    assert partition_of("2032-03-05T12:00:00Z") == "audit_event_203203"
    assert execute("SELECT count(*) FROM audit_event_rest") == [(0,)]


def test_a_clock_that_was_behind_does_not_stop_the_janitor() -> None:
    insert_event("2019-05-01T00:00:00Z")
    make_partitions()
    make_partitions()
    assert partition_of("2019-05-01T00:00:00Z") == "audit_event_201905"


def test_a_moved_event_keeps_its_number() -> None:
    insert_event("2032-02-05T12:00:00Z")
    before = execute("SELECT id FROM audit_event WHERE at = '2032-02-05T12:00:00Z'")
    make_partitions()
    assert execute("SELECT id FROM audit_event WHERE at = '2032-02-05T12:00:00Z'") == before


def test_every_partitioned_table_is_maintained() -> None:
    assert set(partitioned_tables()) == {"audit_event", "jobs_attempt", "analysis_result"}
