"""Clients that send or read slowly, or not at all, hold no thread of the server."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg2
import pytest

from live import Service
from support import ELEMENTS, element, path

HEAD = b"POST /api/elements/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LIMIT = 10  # seconds; the README has the figures, and clients that block others do so for 60 s (channel_timeout)
FORM = b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"


@contextlib.contextmanager
def sending(live: Service, number: int, request: bytes) -> Iterator[list[socket.socket]]:
    """Connections that have sent this, and read nothing."""
    where = urlsplit(live.url)
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(number):
            client = stack.enter_context(socket.create_connection((where.hostname, where.port)))
            client.sendall(request)
            clients.append(client)
        yield clients


def slowest(live: Service) -> float:
    """The longest of five answers of /live and of a small list, in seconds."""
    times = []
    for _ in range(5):
        for target, statuses in (("/live", {200}), (f"{ELEMENTS}?page_size=1", {200, 503})):
            start = time.perf_counter()
            assert live.ask("GET", target).status in statuses
            times.append(time.perf_counter() - start)
    return max(times)


@pytest.mark.parametrize(
    ("head", "trickle"), [(HEAD, b""), (HEAD, b'"'), (FORM, b"")], ids=["idle", "trickling", "login form"]
)
def test_200_incomplete_bodies_delay_no_other_client(live: Service, head: bytes, trickle: bytes) -> None:
    with sending(live, 200, head + b"Content-Length: 500\r\n\r\n{") as clients:
        for client in clients:
            client.sendall(trickle)
        assert slowest(live) < LIMIT


def test_50_unread_exports_delay_no_other_client(live: Service) -> None:
    for number in range(20):
        assert live.ask("POST", ELEMENTS, element(f"big{number}", "1.25 " * 100_000)).status == 201
    export = b"GET /api/elements/?format=ndjson&fields=id,raw_data HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with sending(live, 50, export):
        assert slowest(live) < LIMIT


def test_a_locked_table_is_503_and_blocks_nothing(live: Service) -> None:
    with contextlib.closing(psycopg2.connect(live.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE elements_element")
        with sending(live, 4, b"GET /api/elements/ HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            assert slowest(live) < LIMIT
        answer = live.ask("GET", ELEMENTS)
    assert (answer.status, answer.json()["detail"]) == (503, "the database is busy; try again")
    assert live.ask("GET", ELEMENTS).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Content-Length: 500\r\n\r\n" + json.dumps(element("cut")).encode(),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(json.dumps(element("cut"))),
    ],
    ids=["Content-Length", "chunked"],
)
def test_a_truncated_request_stores_nothing(live: Service, request_: bytes) -> None:
    if b"chunked" in request_:
        request_ += json.dumps(element("cut")).encode() + b"\r\n"
    with sending(live, 1, request_) as (client,):
        client.shutdown(socket.SHUT_WR)
        assert b" 201 " not in client.recv(1000)
    assert live.ask("GET", path("cut")).status == 404


def test_a_request_that_the_server_refuses_is_a_line_in_the_log(live: Service) -> None:
    with sending(live, 1, HEAD + b"Content-Length: -5\r\n\r\n") as (client,):
        assert client.recv(1000).startswith(b"HTTP/1.1 400")
    live.wait_for_log(message="refused by the server", status=400)


def test_a_body_over_the_limit_is_413_to_urllib(live: Service) -> None:
    assert live.ask("POST", ELEMENTS, b" " * ((64 << 20) + 1)).status == 413
