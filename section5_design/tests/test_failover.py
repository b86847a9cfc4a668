"""The primary's server is lost with its disk, under load: another takes over, and nothing acknowledged is lost."""

from pathlib import Path

import pytest

from benchmarks.history import History, collect, find_faults, read, sending
from cluster import Cluster
from system import System, until

PATIENCE = 90.0  # seconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The servers are nobody's, and must reach it."""
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    for name in ("cluster", "system"):
        (tmp_path / name).mkdir()
    return tmp_path


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
