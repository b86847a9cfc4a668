"""`manage.py verify`."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from pipeline import query, run_jobs, send
from system import SECTION, administer, instance, url_of


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


def test_an_unreadable_object_is_reported_and_the_others_are_verified(objects: list[Path]) -> None:
    unreadable, missing, _ = objects
    unreadable.unlink()
    unreadable.mkdir()
    missing.unlink()
    faults = sorted(line.partition(": ")[2] for line in verify()[1])
    assert faults == ["its object cannot be read: Is a directory", "its object is missing"]


def test_a_database_that_does_not_respond_is_named_in_one_line() -> None:
    (line,) = fail("postgresql://127.0.0.1:1/away")
    assert "The database does not respond" in line


def test_a_database_without_tables_is_named_in_one_line() -> None:
    name = f"empty_{os.getpid()}"
    administer(f'CREATE DATABASE "{name}"')
    try:
        (line,) = fail(url_of(name))
    finally:
        administer(f'DROP DATABASE "{name}"')
    assert "run `manage.py migrate` first" in line


def fail(database_url: str) -> list[str]:
    """Return the lines that the command prints about a database that it cannot use."""
    command = [sys.executable, str(SECTION / "manage.py"), "verify"]
    environment = os.environ | {"DATABASE_URL": database_url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr.splitlines()


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
