"""`manage.py verify`."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from pipeline import query, run_jobs, send
from system import instance


@pytest.fixture
def objects(local_store: Path) -> list[Path]:
    """The objects of three processed images."""
    for _ in range(3):
        send(instance()[1])
    run_jobs()
    return [path for path in sorted((local_store / "store" / "objects").rglob("*")) if path.is_file()]


def verify(*words: str) -> tuple[str, list[str]]:
    """Return what the command prints and its lines of faults."""
    output, faults = io.StringIO(), io.StringIO()
    try:
        call_command("verify", *words, stdout=output, stderr=faults)
    except CommandError:
        assert faults.getvalue()
    return output.getvalue(), faults.getvalue().splitlines()


def test_a_consistent_archive_is_reported_as_such(objects: list[Path]) -> None:
    assert len(objects) == 3
    assert verify() == ("3 received: 0 queued, 0 running, 3 done, 0 quarantined\n", [])


def test_a_flipped_bit_and_a_missing_object_are_reported(objects: list[Path]) -> None:
    altered, missing, _ = objects
    content = bytearray(altered.read_bytes())
    content[1000] ^= 1
    altered.write_bytes(content)
    missing.unlink()
    faults = sorted(line.partition(": ")[2] for line in verify()[1])
    assert faults == ["its object is missing", "its object was altered"]
    assert verify("--counts")[1] == []


def test_a_fault_is_an_error_of_the_command(objects: list[Path]) -> None:
    objects[0].unlink()
    with pytest.raises(CommandError, match="1 faults"):
        call_command("verify", stdout=io.StringIO(), stderr=io.StringIO())


@pytest.mark.usefixtures("objects")
def test_a_missing_result_is_reported() -> None:
    statement = "DELETE FROM analysis_result WHERE instance_id = (SELECT min(id) FROM archive_instance) RETURNING 1"
    assert query(statement) == [(1,)]
    (fault,) = verify("--counts")[1]
    assert "its job and its results do not agree" in fault
