"""Background loops: each has its own thread and lease, so that none holds up another and two programs may run."""

import threading

import pytest
from django.db import connection, connections

from core.loops import Loop, acquire_lease, release_lease, run_loops

pytestmark = pytest.mark.django_db(transaction=True)


def end_lease(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE core_loop_lease SET expires_at = now() - interval '1 second' WHERE name = %s", (name,))


def run_until(loops: list[Loop], condition: threading.Event) -> bool:
    """Run loops until something happened; whether it did."""
    stop = threading.Event()
    runner = threading.Thread(target=run_loops, args=(loops, stop))
    runner.start()
    happened = condition.wait(30)
    stop.set()
    runner.join(30)
    return happened


def test_one_of_two_programs_holds_a_lease() -> None:
    assert acquire_lease("reaper", "first")
    assert not acquire_lease("reaper", "second")
    assert acquire_lease("reaper", "first")
    assert acquire_lease("janitor", "second")


def test_an_expired_lease_is_taken_over() -> None:
    acquire_lease("reaper", "first")
    end_lease("reaper")
    assert acquire_lease("reaper", "second")
    assert not acquire_lease("reaper", "first")


def test_a_released_lease_is_free_at_once() -> None:
    acquire_lease("reaper", "first")
    release_lease("reaper", "second")
    assert not acquire_lease("reaper", "second")
    release_lease("reaper", "first")
    assert acquire_lease("reaper", "second")


def test_a_loop_that_hangs_holds_up_no_other() -> None:
    released, three_rounds = threading.Event(), threading.Event()
    rounds: list[int] = []

    def count() -> None:
        rounds.append(1)
        if len(rounds) == 3:
            three_rounds.set()
            released.set()

    loops = [Loop("hangs", 0.01, lambda: released.wait(30)), Loop("counts", 0.01, count)]
    assert run_until(loops, three_rounds)


def test_a_round_that_fails_is_followed_by_the_next() -> None:
    again = threading.Event()
    rounds: list[int] = []

    def fail_once() -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise ValueError("once")
        again.set()

    assert run_until([Loop("fails", 0.01, fail_once)], again)


def test_a_loop_whose_lease_another_program_holds_does_nothing() -> None:
    acquire_lease("held", "another")
    rounds: list[str] = []
    done = threading.Event()

    def finish() -> None:
        if len(rounds) > 2:
            done.set()
        rounds.append("free")

    assert run_until([Loop("held", 0.01, lambda: rounds.append("held")), Loop("free", 0.01, finish)], done)
    assert set(rounds) == {"free"}


@pytest.fixture(autouse=True)
def _close() -> None:
    connections.close_all()
