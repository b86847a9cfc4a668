"""Many clients at once, each with a thread and a connection of its own, on the real database."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client

from support import element, keyed, path, post, send, store, stored_ids

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*tasks: Callable[[Client], Any]) -> list[Any]:
    """The answers of tasks that start together."""
    barrier = threading.Barrier(len(tasks))

    def run(task: Callable[[Client], Any]) -> Any:
        barrier.wait()
        try:
            return task(Client())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


def statuses(answers: Sequence[Any]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("attempt", range(10))
def test_of_racing_creations_one_wins_and_the_others_are_409(client: Client, attempt: int) -> None:
    answers = at_once(*[lambda api: post(api, element("a"))] * 12)
    assert statuses(answers) == {201: 1, 409: 11}
    assert stored_ids(client) == ["a"]


@pytest.mark.parametrize("attempt", range(10))
def test_racing_maps_in_opposite_orders_end_with_one_of_them(client: Client, attempt: int) -> None:
    ids = [f"e{number:03}" for number in range(200)]
    one, other = (keyed(*(element(id_) for id_ in order)) for order in (ids, ids[::-1]))
    answers = at_once(*[lambda api: post(api, one), lambda api: post(api, other)] * 4)
    assert statuses(answers) == {201: 1, 409: 7}
    assert stored_ids(client) == ids


@pytest.mark.parametrize("attempt", range(5))
def test_racing_partial_maps_store_each_element_once(client: Client, attempt: int) -> None:
    ids = [f"e{number:03}" for number in range(100)]
    body = keyed(*(element(id_) for id_ in ids))
    answers = at_once(*[lambda api: post(api, body, "?partial=true")] * 6)
    assert statuses(answers) == {207: 6}
    assert sum(answer.json()["created"] for answer in answers) == 100
    assert stored_ids(client) == ids


@pytest.mark.parametrize("attempt", range(10))
def test_of_racing_renames_to_one_id_one_wins(client: Client, attempt: int) -> None:
    ids = [f"e{number}" for number in range(8)]
    store(client, *ids)
    answers = at_once(*(lambda api, id_=id_: send(api, "PATCH", path(id_), {"id": "new"}) for id_ in ids))
    assert statuses(answers) == {200: 1, 409: 7}
    assert len(stored_ids(client)) == 8


@pytest.mark.parametrize("attempt", range(10))
def test_racing_swaps_of_two_ids_are_refused(client: Client, attempt: int) -> None:
    store(client, "a", "b")
    swap = [lambda api: send(api, "PUT", path("a"), {"id": "b"}), lambda api: send(api, "PUT", path("b"), {"id": "a"})]
    assert statuses(at_once(*swap * 3)) == {409: 6}
    assert stored_ids(client) == ["a", "b"]


@pytest.mark.parametrize("attempt", range(10))
def test_of_racing_patches_with_one_tag_one_wins(client: Client, attempt: int) -> None:
    store(client, "a")
    tag = client.get(path("a"))["ETag"]
    names = [f"CT {number}" for number in range(8)]
    answers = at_once(
        *(lambda api, name=name: send(api, "PATCH", path("a"), {"device_name": name}, If_Match=tag) for name in names)
    )
    assert statuses(answers) == {200: 1, 412: 7}
    (won,) = [answer for answer in answers if answer.status_code == 200]
    assert client.get(path("a")).json() == won.json()


@pytest.mark.parametrize("attempt", range(10))
def test_a_delete_racing_a_rename_ends_as_reported(client: Client, attempt: int) -> None:
    store(client, "a")
    deleted, renamed = at_once(lambda api: api.delete(path("a")), lambda api: send(api, "PUT", path("a"), {"id": "b"}))
    outcome = (deleted.status_code, renamed.status_code, tuple(stored_ids(client)))
    assert outcome in {(204, 404, ()), (404, 200, ("b",))}


@pytest.mark.parametrize("attempt", range(10))
def test_a_rename_against_a_creation_of_the_same_id(client: Client, attempt: int) -> None:
    store(client, "a")
    ids = ["a0", "b", "z"]
    renamed, created = at_once(
        lambda api: send(api, "PUT", path("a"), {"id": "b"}),
        lambda api: post(api, keyed(*(element(id_) for id_ in ids))),
    )
    outcome = (renamed.status_code, created.status_code, tuple(stored_ids(client)))
    assert outcome in {(200, 409, ("b",)), (409, 201, ("a", "a0", "b", "z"))}


def test_a_deadlock_is_retried(client: Client) -> None:
    """A rename holds the row a and waits for the new id b of a map, which goes on to a and waits for the rename."""
    store(client, "a", "m")
    inserted_b, go_on = threading.Event(), threading.Event()

    def other() -> None:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"INSERT INTO elements_element {COLUMNS} VALUES ('b', 'other', 1, 1, 1, '[]')")
            inserted_b.set()
            go_on.wait(20)
            cursor.execute("SET LOCAL deadlock_timeout = '1h'; SET LOCAL lock_timeout = 0")  # the rename must give way
            cursor.execute("UPDATE elements_element SET device_name = 'other' WHERE id = 'a'")
            cursor.execute("ROLLBACK")
        connections.close_all()

    thread = threading.Thread(target=other)
    thread.start()
    inserted_b.wait(20)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(at_once, lambda api: send(api, "PUT", path("a"), {"id": "b"}))
        wait_for_a_waiting_client()
        go_on.set()
        assert statuses(answer.result(60)) == {200: 1}
    thread.join()
    assert stored_ids(client) == ["b", "m"]


COLUMNS = "(id, device_name, average_before_normalization, average_after_normalization, data_size, raw_data)"


def wait_for_a_waiting_client() -> None:
    """Until PostgreSQL says that a client of this database waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    found = 0
    with connection.cursor() as cursor:
        while not found:
            cursor.execute(waiting)
            found = cursor.fetchone()[0]
