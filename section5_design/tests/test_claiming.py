"""Work as rows: who holds a job may end it, and nobody else; on the real database, with transactions of its own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, connection, connections

from ingest.accept import record
from ingest.validation import Header
from processing.claiming import Claim, claim, due, finish, give_up, recover_lost, requeue
from processing.partitions import make_partitions

pytestmark = pytest.mark.django_db(transaction=True)
FIGURES = {"average_before_normalization": 1.5}


@pytest.fixture(autouse=True)
def partitions() -> None:
    """The tables of this month; the flush between the tests leaves them, and the log's trigger allows it."""
    make_partitions()


@pytest.fixture
def job() -> int:
    header = Header("1.2.3", "1.2", "1.2.840.10008.1.2.1", "1.2.4", "1.2.5", "id", "name", "20200101", "CT", 1000)
    _, job_id = record(header, "0" * 64, 1000, "test")
    assert job_id is not None
    return job_id


def one(statement: str, *values: object) -> object:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
    return row[0] if row and len(row) == 1 else row


def state(job_id: int) -> object:
    return one("SELECT state FROM processing_job WHERE id = %s", job_id)


def held_by(job_id: int, worker: str = "w") -> Claim:
    held = claim(job_id, worker)
    assert held is not None
    return held


def end_lease(job_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE processing_job SET lease_until = now() - interval '1 second' WHERE id = %s", (job_id,))


def be_due(job_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE processing_job SET next_run_at = now() WHERE id = %s", (job_id,))


def test_of_many_that_claim_at_once_one_gets_it(job: int) -> None:
    barrier = threading.Barrier(8)

    def attempt(number: int) -> Claim | None:
        barrier.wait()
        try:
            return claim(job, f"w{number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sum(held is not None for held in pool.map(attempt, range(8))) == 1


def test_a_result_is_written_once_with_attempt_and_event(job: int) -> None:
    held = held_by(job)
    assert finish(held, FIGURES, "")
    assert not finish(held, FIGURES, "")
    assert claim(job, "w") is None
    assert one("SELECT count(*) FROM processing_result WHERE instance_id = %s", held.instance_id) == 1
    assert one("SELECT outcome FROM processing_attempt WHERE job_id = %s", job) == "done"
    with connection.cursor() as cursor:
        cursor.execute("SELECT kind FROM processing_event WHERE instance_id = %s ORDER BY id", (held.instance_id,))
        assert cursor.fetchall() == [("received",), ("done",)]


def test_a_late_twin_writes_nothing(job: int) -> None:
    late = held_by(job, "late")
    end_lease(job)
    assert recover_lost() == 1
    second = held_by(job, "second")
    assert not finish(late, FIGURES, "")
    assert not give_up(late, "too late", can_pass=True)
    assert state(job) == "running"
    assert finish(second, FIGURES, "")
    assert not finish(late, FIGURES, "")
    written = "SELECT count(*), min(fence) FROM processing_result WHERE instance_id = %s"
    assert one(written, second.instance_id) == (1, second.fence)


def test_what_cannot_pass_is_quarantined_at_once(job: int) -> None:
    assert give_up(held_by(job), "no pixels", can_pass=False)
    assert one("SELECT state, reason FROM processing_job") == ("quarantined", "no pixels")
    assert due("small", 10) == []


def test_what_can_pass_is_tried_again_later_and_then_quarantined(job: int) -> None:
    waits = []
    for _ in range(4):
        assert give_up(held_by(job), "the disk", can_pass=True)
        waits.append(one("SELECT extract(epoch FROM next_run_at - now())::float FROM processing_job"))
        assert claim(job, "w") is None
        if state(job) == "queued":
            be_due(job)
    assert state(job) == "quarantined"
    assert 0.5 < float(str(waits[0])) < 3.1
    assert 3.5 < float(str(waits[2])) < 12.1


def test_a_person_gives_it_another_round(job: int) -> None:
    give_up(held_by(job), "no pixels", can_pass=False)
    assert requeue(job, "a person")
    assert not requeue(job, "a person")
    assert finish(held_by(job), FIGURES, "")


def test_a_process_that_ends_without_a_word_four_times_is_quarantined(job: int) -> None:
    for _ in range(4):
        held_by(job)
        assert recover_lost() == 0
        end_lease(job)
        assert recover_lost() == 1
    assert state(job) == "quarantined"
    assert one("SELECT count(*) FROM processing_attempt WHERE job_id = %s", job) == 4


def test_what_is_due_is_rung_for_and_then_left_alone_for_a_while(job: int) -> None:
    assert due("small", 10) == []  # rung for when it came
    assert due("large", 10, quiet=0) == []
    assert due("small", 0, quiet=0) == []
    assert due("small", 10, quiet=0) == [job]
    assert due("small", 10) == []


@pytest.mark.parametrize("statement", ["UPDATE processing_event SET detail = ''", "DELETE FROM processing_event"])
def test_the_log_is_only_added_to(job: int, statement: str) -> None:
    with pytest.raises(DatabaseError, match="only added to"), connection.cursor() as cursor:
        cursor.execute(statement)


def test_rows_lie_in_the_partition_of_their_month(job: int) -> None:
    finish(held_by(job), FIGURES, "")
    for table in ("processing_result", "processing_attempt", "processing_event"):
        assert one(f"SELECT count(*) FROM {table}_rest") == 0
        assert one(f"SELECT tableoid::regclass::text ~ '{table}_[0-9]{{6}}$' FROM {table} LIMIT 1") is True


def test_making_partitions_again_is_no_error() -> None:
    make_partitions()
    make_partitions()
