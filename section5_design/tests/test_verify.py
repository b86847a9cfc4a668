"""`manage.py verify`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from system import OVER_HTTP, SECTION, System, database, instance


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with database(f"verify_{os.getpid()}") as url, System(tmp_path, url, OVER_HTTP) as running:
        for _ in range(3):
            uid, content = instance()
            running.post(content)
            running.wait_for(uid)
        yield running


def verify(system: System, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SECTION / "manage.py"), "verify", *words]
    return subprocess.run(command, env=system.environment, capture_output=True, text=True, check=False)


def objects(system: System) -> list[Path]:
    return [path for path in sorted((system.folder / "store" / "objects").rglob("*")) if path.is_file()]


def test_a_consistent_archive_is_reported_as_such(system: System) -> None:
    done = verify(system)
    assert (done.returncode, done.stdout) == (0, "3 received: 0 queued, 0 running, 3 done, 0 quarantined\n")


def test_a_flipped_bit_and_a_missing_object_are_reported(system: System) -> None:
    altered, missing, _ = objects(system)
    content = bytearray(altered.read_bytes())
    content[1000] ^= 1
    altered.write_bytes(content)
    missing.unlink()
    done = verify(system)
    assert done.returncode == 1
    assert sorted(line.partition(": ")[2] for line in done.stderr.splitlines()[:2]) == [
        "its object is missing",
        "its object was altered",
    ]
    assert verify(system, "--counts").returncode == 0


def test_a_missing_result_is_reported(system: System) -> None:
    system.query("DELETE FROM analysis_result WHERE instance_id = (SELECT min(id) FROM archive_instance)")
    done = verify(system, "--counts")
    assert done.returncode == 1
    assert "its job and its results do not agree" in done.stderr
