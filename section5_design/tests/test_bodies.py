"""Request bodies are read only from authorised users, and pages with patient data are never cached."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from people import Person, make_people
from system import OVER_HTTP, System, database, instance

PEOPLE = {"ana": ["submitters"], "reader": ["readers"]}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with (
        database(f"bodies_{os.getpid()}") as url,
        System(tmp_path_factory.mktemp("bodies"), url, OVER_HTTP) as running,
    ):
        make_people(running, PEOPLE)
        yield running


def begin_form(system: System, person: Person | None, megabytes: int) -> str:
    """Send the head of a large form and the first kilobyte of its body; the status line, which must not wait."""
    cookie = f"Cookie: {person.headers()['Cookie']}\r\n" if person else ""
    head = (
        f"POST /uploads/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {megabytes << 20}\r\n{cookie}"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    with contextlib.closing(socket.create_connection(("127.0.0.1", system.http), timeout=20)) as client:
        client.sendall(head.encode() + b"--b\r\n" + b"x" * 1000)
        return client.recv(4096).decode("latin-1")


def test_a_large_form_without_login_is_not_read(system: System) -> None:
    answer = begin_form(system, None, 149)
    assert " 302 " in answer.partition("\r\n")[0]
    assert "/login/" in answer


def test_a_large_form_of_a_reader_is_not_read(system: System) -> None:
    assert " 403 " in begin_form(system, Person(system, "reader"), 149).partition("\r\n")[0]


def test_a_form_above_the_limit_is_not_read(system: System) -> None:
    assert " 413 " in begin_form(system, Person(system, "ana"), 513).partition("\r\n")[0]


def test_a_form_below_the_limit_is_stored(system: System) -> None:
    uid, content = instance()
    assert Person(system, "ana").send(content).status_code == 302
    assert system.wait_for(uid) == ("done", "")


def test_responses_with_patient_data_are_not_cached(system: System) -> None:
    ana = Person(system, "ana")
    uid, content = instance()
    ana.send(content)
    system.wait_for(uid)
    ((image, study),) = system.query(
        "SELECT i.id, study_id FROM archive_instance AS i JOIN archive_series AS s ON s.id = series_id"
        " WHERE sop_instance_uid = %s",
        uid,
    )
    paths = ["/", f"/studies/{study}/", f"/images/{image}/", f"/images/{image}/picture.png", "/api/results/"]
    paths += [f"/images/{image}/result.{kind}" for kind in ("json", "csv", "png", "dcm")]
    paths += [f"/studies/{study}/results.{kind}" for kind in ("json", "csv", "zip")]
    cached = [path for path in paths if "no-store" not in ana.get(path).headers.get("Cache-Control", "")]
    assert cached == []
