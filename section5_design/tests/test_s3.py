"""The whole system with its objects on an S3 server: sent, processed, verified, backed up, and the server killed."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest

from local.embedded_postgres import EmbeddedPostgres
from namespaces import find_ip, own_network
from object_server import ObjectServer, ReplicatedObjectServer
from system import SECTION, System, administer, database, instance, needs, public_folder, until, url_of

KILLS = 2
NODES = "10.216.0.1"  # of storage nodes
SETTINGS = {"TASK_SECONDS": "20", "LEASE_SECONDS": "21", "MAX_ATTEMPTS": "9"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ObjectServer]:
    (tmp_path / "s3").mkdir()
    with ObjectServer(tmp_path / "s3") as running:
        yield running


@pytest.fixture
def system(tmp_path: Path, server: ObjectServer) -> Iterator[System]:
    settings = SETTINGS | {"STORAGE_URL": server.new_url()}
    (tmp_path / "system").mkdir()
    with (
        database(f"s3_{os.getpid()}") as url,
        System(tmp_path / "system", url, **server.environment, **settings) as running,
    ):
        yield running


def manage(environment: dict[str, str], *words: str) -> str:
    command = [sys.executable, str(SECTION / "manage.py"), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def send(system: System) -> str:
    uid, content = instance()
    assert system.post(content).status == 200
    return uid


def test_a_system_on_s3_is_verified_backed_up_and_restored(
    system: System, server: ObjectServer, tmp_path: Path
) -> None:
    uids = [send(system) for _ in range(3)]
    for uid in uids:
        assert system.wait_for(uid) == ("done", "")
    assert not (system.folder / "store").exists()
    counts = "3 received: 0 queued, 0 running, 3 done, 0 quarantined\n"
    assert manage(system.environment, "verify") == counts
    assert manage(system.environment, "backup", str(tmp_path / "backup")).startswith("6 objects, 6 of them new")
    assert manage(system.environment, "backup", str(tmp_path / "backup")).startswith("6 objects, 0 of them new")
    name = f"s3_restored_{os.getpid()}"
    administer(f'DROP DATABASE IF EXISTS "{name}"')
    administer(f'CREATE DATABASE "{name}"')
    try:
        elsewhere = system.environment | {"DATABASE_URL": url_of(name), "STORAGE_URL": server.new_url()}
        assert counts in manage(elsewhere, "restore", str(tmp_path / "backup"))
    finally:
        administer(f'DROP DATABASE "{name}" WITH (FORCE)')


class Sender(threading.Thread):
    """Sends one instance after the other; remembers what was acknowledged, and what was answered otherwise."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self._system, self.enough = system, threading.Event()
        self.acknowledged: list[str] = []
        self.answers: set[int] = set()

    def run(self) -> None:
        while not self.enough.is_set():
            uid, content = instance()
            try:
                status = self._system.post(content).status
            except (OSError, HTTPException):
                continue
            if status == 200:
                self.acknowledged.append(uid)
            self.answers.add(status)


@contextmanager
def sending(system: System) -> Iterator[list[Sender]]:
    """Send all the time, three at once."""
    senders = [Sender(system) for _ in range(3)]
    for sender in senders:
        sender.start()
    try:
        yield senders
    finally:
        for sender in senders:
            sender.enough.set()
        for sender in senders:
            sender.join()


def send_more(senders: list[Sender]) -> None:
    """Wait until more instances were acknowledged."""
    before = len(senders[0].acknowledged)
    until(lambda: len(senders[0].acknowledged) >= before + 3)


def is_complete(system: System, senders: list[Sender]) -> None:
    """Assert that everything acknowledged was processed once, and that every object is there and whole."""
    acknowledged = [uid for sender in senders for uid in sender.acknowledged]
    assert {status for sender in senders for status in sender.answers} <= {200, 503}
    for uid in acknowledged:
        assert system.wait_for(uid) == ("done", "")
        assert system.results_of(uid) == 1
    received = system.query("SELECT count(*) FROM archive_instance")[0][0]
    assert received >= len(acknowledged)
    system.settle()
    counts = manage(system.environment, "verify")
    assert counts == f"{received:,} received: 0 queued, 0 running, {received:,} done, 0 quarantined\n"


def test_a_server_that_is_killed_while_it_is_written_to_loses_nothing(system: System, server: ObjectServer) -> None:
    with sending(system) as senders:
        for _ in range(KILLS):
            send_more(senders)
            server.kill()
            until(lambda: 503 in senders[0].answers)
            server.start()
            senders[0].answers.clear()
    is_complete(system, senders)


def test_a_storage_node_that_dies_with_its_disk_loses_nothing() -> None:
    with own_network(), public_folder() as folder, EmbeddedPostgres(folder / "database") as postgres:
        subprocess.run([find_ip(), "addr", "add", f"{NODES}/32", "dev", "lo"], check=True)
        for name in ("s3", "system"):
            (folder / name).mkdir()
        with ReplicatedObjectServer(folder / "s3", NODES) as server:
            settings = server.environment | SETTINGS | {"STORAGE_URL": server.new_url()}
            with System(folder / "system", postgres.url, **settings) as system:
                with sending(system) as senders:
                    send_more(senders)
                    server.lose_node("node1")
                    server.start_node("node3")  # an empty one, in its place
                    send_more(senders)
                server.replicate()
                server.lose_node("node2")
                server.start_node("node4")
                with sending(system) as later:
                    send_more(later)
                is_complete(system, senders + later)


def test_c_store_is_refused_while_the_server_is_away(system: System, server: ObjectServer, tmp_path: Path) -> None:
    uid, content = instance()
    (tmp_path / "file.dcm").write_bytes(content)
    command = [needs("storescu", "dcmtk"), "-aec", "SECTION5", "localhost", str(system.dicom)]
    command.append(str(tmp_path / "file.dcm"))
    server.kill()
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    assert system.state_of(uid) == ("", "")
    server.start()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert system.wait_for(uid) == ("done", "")
