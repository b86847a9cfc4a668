"""Clients that send or read slowly, or not at all, hold no thread of the server."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg2
import pytest

from live import Service, database, service
from support import ELEMENTS, element, path

HEAD = b"POST /api/elements/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
FORM = b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    log = tmp_path_factory.mktemp("slow") / "api.log"
    with database(f"slow_{os.getpid()}") as url, service(log, DATABASE_URL=url) as running:
        yield running, url


@contextlib.contextmanager
def sending(running: Service, number: int, request: bytes) -> Iterator[list[socket.socket]]:
    """Connections that have sent this, and read nothing."""
    where = urlsplit(running.url)
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(number):
            client = stack.enter_context(socket.create_connection((where.hostname, where.port)))
            client.sendall(request)
            clients.append(client)
        yield clients


def slowest(running: Service) -> float:
    """The longest of five answers of /live and of a small list, in seconds."""
    times = []
    for _ in range(5):
        for target, statuses in (("/live", {200}), (f"{ELEMENTS}?page_size=1", {200, 503})):
            start = time.perf_counter()
            assert running.ask("GET", target).status in statuses
            times.append(time.perf_counter() - start)
    return max(times)


@pytest.mark.parametrize(
    ("head", "trickle"), [(HEAD, b""), (HEAD, b'"'), (FORM, b"")], ids=["idle", "trickling", "login form"]
)
def test_200_incomplete_bodies_delay_no_other_client(slow: tuple[Service, str], head: bytes, trickle: bytes) -> None:
    with sending(slow[0], 200, head + b"Content-Length: 500\r\n\r\n{") as clients:
        for client in clients:
            client.sendall(trickle)
        assert slowest(slow[0]) < 1


def test_50_unread_exports_delay_no_other_client(slow: tuple[Service, str]) -> None:
    for number in range(20):
        assert slow[0].ask("POST", ELEMENTS, element(f"big{number}", "1.25 " * 100_000)).status == 201
    export = b"GET /api/elements/?format=ndjson&fields=id,raw_data HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with sending(slow[0], 50, export):
        assert slowest(slow[0]) < 2  # the exports that PostgreSQL is still writing compete for the processor
        assert slowest(slow[0]) < 1


def test_a_locked_table_is_503_within_a_second(slow: tuple[Service, str]) -> None:
    with contextlib.closing(psycopg2.connect(slow[1])) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE elements_element")
        with sending(slow[0], 4, b"GET /api/elements/ HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            assert slowest(slow[0]) < 1
        answer = slow[0].ask("GET", ELEMENTS)
    assert (answer.status, answer.json()["detail"]) == (503, "the database is busy; try again")
    assert slow[0].ask("GET", ELEMENTS).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Content-Length: 500\r\n\r\n" + json.dumps(element("cut")).encode(),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(json.dumps(element("cut"))),
    ],
    ids=["Content-Length", "chunked"],
)
def test_a_truncated_request_stores_nothing(slow: tuple[Service, str], request_: bytes) -> None:
    if b"chunked" in request_:
        request_ += json.dumps(element("cut")).encode() + b"\r\n"
    with sending(slow[0], 1, request_) as (client,):
        client.shutdown(socket.SHUT_WR)
        assert b" 201 " not in client.recv(1000)
    assert slow[0].ask("GET", path("cut")).status == 404


def test_a_request_that_the_server_refuses_is_a_line_in_the_log(slow: tuple[Service, str]) -> None:
    with sending(slow[0], 1, HEAD + b"Content-Length: -5\r\n\r\n") as (client,):
        assert client.recv(1000).startswith(b"HTTP/1.1 400")
    slow[0].wait_for_log(message="refused by the server", status=400)


def test_a_body_over_the_limit_is_413_to_urllib(slow: tuple[Service, str]) -> None:
    assert slow[0].ask("POST", ELEMENTS, b" " * ((64 << 20) + 1)).status == 413
