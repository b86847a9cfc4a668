"""The primary's server is lost with its disk, under load: another takes over, and nothing acknowledged is lost."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from benchmarks.history import History, collect, find_faults, read, sending
from cluster import Cluster
from local.embedded_postgres import EmbeddedPostgres
from system import System, instance, public_folder, until

PATIENCE = 90.0  # seconds


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as path:
        (path / "cluster").mkdir()
        yield path


def test_a_primary_that_is_lost_with_its_disk_loses_nothing_acknowledged(folder: Path) -> None:
    limits = {"TASK_SECONDS": "10", "LEASE_SECONDS": "12", "MAX_ATTEMPTS": "9"}
    with Cluster(folder / "cluster") as cluster, System(folder / "system", cluster.url, **limits) as system:
        history = History(folder / "history.jsonl")

        def acknowledged() -> int:
            return sum(one["event"] == "acknowledged" for one in read(history.path))

        with sending(system, history, 3):
            until(lambda: acknowledged() >= 10)
            lost = cluster.primary()
            cluster.kill(lost)
            cluster.remove_data(lost)
            until(lambda: cluster.primary() not in ("", lost), PATIENCE)
            before = acknowledged()
            until(lambda: acknowledged() >= before + 10, PATIENCE)
            cluster.start(lost)
            until(cluster.is_whole, PATIENCE)
        system.settle()
        collect(system, history)
        assert list(find_faults(read(history.path))) == []
        assert {one["state"] for one in read(history.path) if one["event"] == "stored"} == {"done"}


def test_a_duplicate_is_acknowledged_only_when_it_is_replicated(folder: Path) -> None:
    """What it is a duplicate of may be committed here, and not yet on the standby."""
    answers: list[int] = []
    with EmbeddedPostgres(folder / "server") as server, System(folder / "system", server.url) as system:
        uid, content = instance()
        assert system.post(content).status == 200
        system.wait_for(uid)
        wait_for_standby(server, "away")
        waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        until(lambda: system.query(waits) == [(True,)])  # a worker's heartbeat: the setting is in force
        sender = threading.Thread(target=lambda: answers.append(system.post(content).status))
        sender.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'"
        until(lambda: answers or system.query(waiting) == [(1,)])
        acknowledged = list(answers)
        wait_for_standby(server, "")
        sender.join()
    assert (acknowledged, answers) == ([], [200])


def wait_for_standby(server: EmbeddedPostgres, name: str) -> None:
    """Let each commit wait for a standby of this name, which need not exist."""
    with contextlib.closing(psycopg2.connect(server.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ALTER SYSTEM SET synchronous_standby_names = %s", (name,))
            cursor.execute("SELECT pg_reload_conf()")
