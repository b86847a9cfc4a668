"""Signed monthly checkpoints: old months can be dropped, and verification starts at the newest checkpoint."""

from datetime import UTC, date, datetime

import pytest
from django.db import connection

from audit.chain import extend_chain, verify_chain
from audit.checkpoints import DropError, drop_month, load_checkpoints, make_checkpoint
from core.partitions import make_partitions_of

pytestmark = pytest.mark.django_db(transaction=True)
JANUARY, FEBRUARY = date(2031, 1, 1), datetime(2031, 2, 2, tzinfo=UTC)


def execute(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture(autouse=True)
def log() -> None:
    """An empty log, and then three events of January 2031, chained."""
    guards = ("audit_event", "audit_link", "audit_checkpoint")
    for table in guards:
        execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        execute(f"DELETE FROM {table}")
        execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    make_partitions_of("audit_event", datetime(2031, 1, 1, tzinfo=UTC))
    for day in (1, 2, 3):
        insert(datetime(2031, 1, day, tzinfo=UTC))
    while extend_chain(include_late=True):
        pass


def insert(at: datetime) -> None:
    execute("INSERT INTO audit_event (kind, actor, detail, at) VALUES ('login', 'user:a', '', %s)", at)


def alter(statement: str, *values: object) -> None:
    """Change the log with all rights in the database."""
    for table in ("audit_event", "audit_checkpoint"):
        execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    execute(statement, *values)
    for table in ("audit_event", "audit_checkpoint"):
        execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def test_a_month_gets_one_checkpoint_when_it_is_over() -> None:
    assert not make_checkpoint(datetime(2031, 1, 31, tzinfo=UTC)) or load_checkpoints()[0].month < JANUARY
    assert make_checkpoint(FEBRUARY)
    assert not make_checkpoint(FEBRUARY)
    assert [one.month for one in load_checkpoints()][-1] == JANUARY


def test_a_month_with_unlinked_events_gets_no_checkpoint() -> None:
    insert(datetime(2031, 1, 4, tzinfo=UTC))
    assert not make_checkpoint(FEBRUARY)


def test_dropping_a_month_leaves_a_chain_that_verifies() -> None:
    make_checkpoint(FEBRUARY)
    drop_month(JANUARY, "person:a")
    while extend_chain(include_late=True):
        pass
    assert list(verify_chain(complete=True)) == []
    assert list(verify_chain()) == []


def test_a_month_without_a_checkpoint_is_not_dropped() -> None:
    with pytest.raises(DropError, match="no valid checkpoint"):
        drop_month(JANUARY, "person:a")


def test_a_month_that_was_removed_otherwise_is_noticed() -> None:
    make_checkpoint(FEBRUARY)
    execute("DROP TABLE audit_event_203101")
    assert any("is missing" in fault for fault in verify_chain(complete=True))


def test_complete_verification_finds_an_event_altered_before_the_checkpoint() -> None:
    make_checkpoint(FEBRUARY)
    alter("UPDATE audit_event SET actor = 'user:x' WHERE at = %s", datetime(2031, 1, 2, tzinfo=UTC))
    assert list(verify_chain()) == []
    assert any("was altered" in fault for fault in verify_chain(complete=True))


def test_a_forged_checkpoint_is_noticed() -> None:
    make_checkpoint(FEBRUARY)
    alter("UPDATE audit_checkpoint SET signature = decode(repeat('00', 64), 'hex')")
    assert any("was not signed" in fault for fault in verify_chain())
