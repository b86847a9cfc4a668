"""Orthanc as sender, a disk that is full, and a dozen kills in a row."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.demo import many_frames
from system import SECTION, System, database, free_port, instance, listens, needs, until


@pytest.fixture
def orthanc(system: System, tmp_path: Path) -> Iterator[Any]:
    """A running Orthanc that knows the system: a function that asks its REST API."""
    port = free_port()
    configuration = {
        "StorageDirectory": str(tmp_path / "orthanc"),
        "HttpPort": port,
        "DicomPort": free_port(),
        "AuthenticationEnabled": False,
        "DicomModalities": {"section5": ["SECTION5", "127.0.0.1", system.dicom]},
        "Plugins": [],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(configuration))
    command = [needs("Orthanc", "orthanc"), str(tmp_path / "orthanc.json")]

    def ask(path: str, body: bytes) -> Any:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
            client.request("POST", path, body)
            return json.loads(client.getresponse().read())

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: listens(port))
        yield ask
        process.terminate()


def test_orthanc_pushes_a_study(system: System, orthanc: Any) -> None:
    uids = []
    for _ in range(10):
        uid, content = instance()
        study = orthanc("/instances", content)["ParentStudy"]
        uids.append(uid)
    told = orthanc("/modalities/section5/store", study.encode())
    assert told["FailedInstancesCount"] == 0
    for uid in uids:
        assert system.wait_for(uid) == ("done", "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of six megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_is_refused_and_nothing_is_torn(small_disk: Path) -> None:
    storescu = needs("storescu", "dcmtk")
    with database(f"small_{os.getpid()}") as url, System(small_disk, url) as system:
        assert system.post(many_frames(35)).status == 200
        system.settle()
        assert system.post(many_frames(35)).status == 507
        with tempfile.NamedTemporaryFile() as file:
            file.write(many_frames(35))
            file.flush()
            command = [storescu, "-v", "-aec", "SECTION5", "localhost", str(system.dicom), file.name]
            said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "OutOfResources" in said.stdout + said.stderr
        until(lambda: not system.spooled())
        uid, content = instance()
        assert system.post(content).status == 200
        assert system.wait_for(uid) == ("done", "")
        system.ledger()


def test_a_dozen_kills_leave_a_clean_ledger() -> None:
    needs("storescu", "dcmtk")
    command = [sys.executable, str(SECTION / "benchmarks" / "kills.py"), "12", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| acknowledged and lost | 0 |" in done.stdout
    assert "| more than one result | 0 |" in done.stdout
