"""The receiver's threads: they are few when it is idle, and keep their database sessions."""

import threading
from collections.abc import Iterator

import pytest
from django.db import connection
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from ingest.dimse import receiver
from ingest.dimse.receiver import MAX_IDLE_THREADS, Server

pytestmark = pytest.mark.django_db(transaction=True)


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def terminate(pids: set[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 60000) FROM unnest(%s) AS pid", (list(pids),))


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The database session of each association, in order."""
    seen: list[int] = []

    def record(*_: str) -> bool:
        seen.append(backend())
        return True

    monkeypatch.setattr(receiver, "may_send", record)
    yield seen
    terminate(set(seen))


@pytest.fixture
def server() -> Server:
    made = Server("127.0.0.1", 0)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made


def echo(server: Server) -> bool:
    entity = AE()
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", server.port)
    if not association.is_established:
        return False
    status = association.send_c_echo().Status
    association.release()
    return bool(status == 0)


def test_associations_one_after_the_other_share_database_sessions(server: Server, sessions: list[int]) -> None:
    assert all(echo(server) for _ in range(3 * MAX_IDLE_THREADS))
    assert len(sessions) == 3 * MAX_IDLE_THREADS
    assert len(set(sessions)) <= MAX_IDLE_THREADS


def test_broken_session_is_replaced_when_an_association_begins(server: Server, sessions: list[int]) -> None:
    assert echo(server)
    terminate(set(sessions))
    assert echo(server)
    assert len(set(sessions)) == 2
