"""The queue: only the holder of a job may finish it; on a real database, with concurrent transactions."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, connection, connections, transaction

from core.partitions import make_partitions
from ingest.header import Header
from ingest.store import Sender, record
from jobs import tasks
from jobs.handlers import RetryableError, register
from jobs.queue import Lease, claim, fail, find_due_queues, finish, release, requeue, requeue_expired

pytestmark = pytest.mark.django_db(transaction=True)
KIND = "analysis"


class StubHandler:
    """Runs a job by calling a function; saves what it returned in a list."""

    def __init__(self) -> None:
        self.work: Callable[[Lease], object] = lambda lease: lease.subject
        self.saved: list[object] = []
        self.discarded: list[object] = []

    def run(self, lease: Lease) -> object:
        return self.work(lease)

    def save(self, results: Sequence[tuple[Lease, object]]) -> None:
        self.saved += [result for _, result in results]

    def discard(self, lease: Lease, result: object) -> None:  # noqa: ARG002
        self.discarded.append(result)


@pytest.fixture(autouse=True)
def partitions() -> None:
    """Create this month's tables; the flush between the tests keeps them."""
    make_partitions()


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> StubHandler:
    monkeypatch.setattr("jobs.handlers._handlers", {})
    monkeypatch.setattr("jobs.tasks.overloaded", lambda: False)
    monkeypatch.setattr("jobs.tasks.send_wake_up", lambda _: None)
    stub = StubHandler()
    register(KIND, stub)
    return stub


def add_job(number: int = 0) -> int:
    uid = f"1.2.3.{number}"
    header = Header(uid, "1.2", "1.2.840.10008.1.2.1", "1.2.4", "1.2.5", 1000)
    with transaction.atomic(), connection.cursor() as cursor:
        stored = record(header, f"{number:064}", 1000, Sender("folder:test"), cursor=cursor)
    return int(str(one("SELECT id FROM jobs_job WHERE subject = %s", stored.instance_id)))


@pytest.fixture
def job() -> int:
    return add_job()


def one(statement: str, *values: object) -> object:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
    return row[0] if row and len(row) == 1 else row


def execute(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def state(job_id: int) -> object:
    return one("SELECT state FROM jobs_job WHERE id = %s", job_id)


def hold(worker: str = "w") -> Lease:
    (lease,) = claim("small", 1, worker)
    return lease


def finish_one(lease: Lease) -> bool:
    with transaction.atomic():
        return finish([lease]) == {lease.job_id}


def end_leases() -> None:
    execute("UPDATE jobs_job SET lease_until = now() - interval '1 second' WHERE state = 'running'")


def test_one_of_many_concurrent_claims_gets_a_job(job: int) -> None:
    barrier = threading.Barrier(8)

    def attempt(number: int) -> list[Lease]:
        barrier.wait()
        try:
            return claim("small", 16, f"w{number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sum(len(leases) for leases in pool.map(attempt, range(8))) == 1


def test_concurrent_claims_share_the_jobs_without_overlap() -> None:
    jobs = {add_job(number) for number in range(20)}
    first, second = claim("small", 12, "a"), claim("small", 12, "b")
    assert {lease.job_id for lease in first} | {lease.job_id for lease in second} == jobs
    assert (len(first), len(second)) == (12, 8)


def test_a_claim_takes_the_highest_priority_first() -> None:
    jobs = [add_job(number) for number in range(3)]
    execute("UPDATE jobs_job SET priority = 1 WHERE id = %s", jobs[2])
    assert hold().job_id == jobs[2]


def test_what_arrives_is_claimed_without_jobs_of_low_priority() -> None:
    jobs = [add_job(number) for number in range(4)]
    execute("UPDATE jobs_job SET priority = -10 WHERE id = ANY(%s)", jobs[:2])
    assert {lease.job_id for lease in claim("small", 16, "w")} == set(jobs[2:])


def test_jobs_of_low_priority_are_claimed_one_at_a_time() -> None:
    jobs = [add_job(number) for number in range(3)]
    execute("UPDATE jobs_job SET priority = -10")
    claims = [claim("small", 16, "w") for _ in jobs]
    assert [len(leases) for leases in claims] == [1, 1, 1]
    assert {leases[0].job_id for leases in claims} == set(jobs)


def test_a_job_is_finished_once_with_attempt_and_event(job: int) -> None:
    lease = hold()
    assert finish_one(lease)
    assert not finish_one(lease)
    assert claim("small", 1, "w") == []
    assert one("SELECT outcome FROM jobs_attempt WHERE job_id = %s", job) == "done"
    with connection.cursor() as cursor:
        cursor.execute("SELECT kind FROM audit_event WHERE instance_id = %s ORDER BY id", (lease.subject,))
        assert cursor.fetchall() == [("received",), ("done",)]


def test_a_holder_whose_lease_expired_cannot_finish(job: int) -> None:
    late = hold("late")
    end_leases()
    assert requeue_expired() == 1
    second = hold("second")
    assert not finish_one(late)
    assert not fail(late, "too late", retryable=True)
    assert state(job) == "running"
    assert finish_one(second)
    assert not finish_one(late)


def test_a_permanent_failure_is_quarantined_at_once(job: int) -> None:
    assert fail(hold(), "no pixels", retryable=False)
    assert one("SELECT state, reason FROM jobs_job") == ("quarantined", "no pixels")
    assert find_due_queues() == []


def test_a_retryable_failure_is_retried_with_back_off_then_quarantined(job: int) -> None:
    waits = []
    for _ in range(4):
        assert fail(hold(), "the disk", retryable=True)
        waits.append(one("SELECT extract(epoch FROM next_run_at - now())::float FROM jobs_job"))
        assert claim("small", 1, "w") == []
        if state(job) == "queued":
            execute("UPDATE jobs_job SET next_run_at = now()")
    assert state(job) == "quarantined"
    assert 0.5 < float(str(waits[0])) < 3.1
    assert 3.5 < float(str(waits[2])) < 12.1


def test_a_requeued_job_gets_all_attempts_again(job: int) -> None:
    fail(hold(), "no pixels", retryable=False)
    assert requeue(job, "person:a")
    assert not requeue(job, "person:a")
    assert finish_one(hold())


def test_a_job_whose_process_dies_four_times_is_quarantined(job: int) -> None:
    for _ in range(4):
        hold()
        assert requeue_expired() == 0
        end_leases()
        assert requeue_expired() == 1
    assert state(job) == "quarantined"
    assert one("SELECT count(*) FROM jobs_attempt WHERE job_id = %s", job) == 4


def test_a_job_that_was_lost_once_runs_alone() -> None:
    for number in range(5):
        add_job(number)
    assert len(claim("small", 16, "w")) == 5
    end_leases()
    requeue_expired()
    assert [len(claim("small", 16, "w")) for _ in range(6)] == [1, 1, 1, 1, 1, 0]


def test_a_released_job_has_lost_no_attempt(job: int) -> None:
    release([hold()])
    assert one("SELECT state, attempts FROM jobs_job") == ("queued", 0)


def test_only_queues_with_due_jobs_are_dispatched(job: int) -> None:
    assert find_due_queues() == ["small"]
    execute("UPDATE jobs_job SET next_run_at = now() + interval '1 hour'")
    assert find_due_queues() == []


def test_a_wake_up_runs_every_due_job(handler: StubHandler) -> None:
    for number in range(40):
        add_job(number)
    tasks.run_queue("small")
    assert len(handler.saved) == 40
    assert one("SELECT count(*) FROM jobs_job WHERE state = 'done'") == 40


def test_one_failing_job_does_not_affect_its_batch(handler: StubHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [add_job(number) for number in range(8)]
    failing = one("SELECT subject FROM jobs_job WHERE id = %s", jobs[3])

    def work(lease: Lease) -> int:
        if lease.subject == failing:
            raise RetryableError("the disk")
        return lease.subject

    handler.work = work
    monkeypatch.setattr("jobs.tasks._claim_size", 16)
    tasks.run_queue("small")
    assert len(handler.saved) == 7
    assert state(jobs[3]) == "queued"


def test_a_crash_in_a_batch_costs_no_saved_result(handler: StubHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [add_job(number) for number in range(3)]
    poison = one("SELECT subject FROM jobs_job WHERE id = %s", jobs[-1])

    def work(lease: Lease) -> object:
        if lease.subject == poison:
            raise SystemExit  # the process dies
        return lease.subject

    handler.work = work
    monkeypatch.setattr(tasks, "SAVE_SECONDS", 0)
    monkeypatch.setattr(tasks, "_claim_size", 16)
    with pytest.raises(SystemExit):
        tasks.run_queue("small")
    assert [state(job) for job in jobs] == ["done", "done", "running"]
    assert len(handler.saved) == 2


def test_jobs_finished_together_have_their_own_attempts_and_events(handler: StubHandler) -> None:
    jobs = [add_job(number) for number in range(3)]
    leases = claim("small", 3, "w")
    with transaction.atomic():
        assert finish(leases) == set(jobs)
    for lease in leases:
        attempt = one("SELECT worker, outcome FROM jobs_attempt WHERE job_id = %s", lease.job_id)
        event = one(
            "SELECT actor, sop_instance_uid, correlation_id FROM audit_event WHERE kind = 'done' AND instance_id = %s",
            lease.subject,
        )
        uid = one("SELECT sop_instance_uid FROM archive_instance WHERE id = %s", lease.subject)
        assert (attempt, event) == (("w", "done"), ("w", uid, lease.correlation_id))


def test_a_late_result_is_discarded(handler: StubHandler, job: int) -> None:
    def lose_lease(lease: Lease) -> int:
        end_leases()
        requeue_expired()
        return lease.subject

    handler.work = lose_lease
    tasks.run_batch("small", float("inf"))
    assert (handler.saved, len(handler.discarded)) == ([], 1)


def test_jobs_that_a_batch_has_no_time_for_are_released(handler: StubHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        add_job(number)
    monkeypatch.setattr("jobs.tasks._claim_size", 16)
    tasks.run_batch("small", 0.0)
    assert len(handler.saved) == 1
    assert one("SELECT count(*) FROM jobs_job WHERE state = 'queued' AND attempts = 0") == 2


def test_an_overloaded_worker_claims_nothing(handler: StubHandler, job: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.tasks.OVERLOAD_PAUSE", 0.0)
    monkeypatch.setattr("jobs.tasks.overloaded", lambda: True)
    tasks.run_queue("small")
    assert state(job) == "queued"


@pytest.mark.parametrize("statement", ["UPDATE audit_event SET detail = ''", "DELETE FROM audit_event"])
def test_the_audit_log_is_append_only(job: int, statement: str) -> None:
    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement)


def test_rows_are_in_the_partition_of_their_month(job: int) -> None:
    finish_one(hold())
    for table in ("jobs_attempt", "audit_event"):
        assert one(f"SELECT count(*) FROM {table}_rest") == 0
        assert one(f"SELECT tableoid::regclass::text ~ '{table}_[0-9]{{6}}$' FROM {table} LIMIT 1") is True


def test_making_partitions_again_is_not_an_error() -> None:
    make_partitions()
    make_partitions()
