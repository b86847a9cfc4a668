"""Storing one instance: what is durable before it is acknowledged, and what a failure leaves behind."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest
from django.db import connection

from archive.encryption import key_by_id, wrapping_key
from archive.models import Instance
from archive.object_store import FileStore, object_key, open_object, store
from archive.overlap import enable_overlap
from archive.spool import spool_folder
from core.partitions import make_partitions
from ingest.header import RefusedError
from ingest.incoming import incoming_file
from ingest.store import Sender, Stored, store_instance
from system import instance

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """A store and a spool of the test's own; the keys of earlier tests went with their rows."""
    make_partitions()
    settings.STORAGE_URL, settings.SPOOL_FOLDER = f"file://{tmp_path / 'store'}", tmp_path / "spool"
    caches = (store, spool_folder, wrapping_key, key_by_id)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()


@pytest.fixture(params=[False, True], ids=["one after the other", "overlapping"])
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways to sync: after the statement (web), and while PostgreSQL executes it (receiver)."""
    connection.close()
    if request.param:
        enable_overlap()
    yield
    connection.close()
    psycopg2.extensions.set_wait_callback(None)


def send(content: bytes) -> Stored:
    with incoming_file() as file:
        for at in range(0, len(content), 10_000):
            file.write(memoryview(content)[at : at + 10_000])
        return store_instance(file, Sender("folder:test"))


def read_object(sha256: str) -> bytes:
    with open_object(object_key(sha256)) as file:
        return file.read()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record what is synced, linked and committed, in order."""
    found: list[str] = []

    def spy(module: Any, name: str, label: str) -> None:
        original = getattr(module, name)

        def record_and_call(*arguments: Any) -> Any:
            found.append(label)
            return original(*arguments)

        monkeypatch.setattr(module, name, record_and_call)

    def commit(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql == "COMMIT":
            found.append("commit")
        return execute(sql, params, many, context)

    spy(os, "fdatasync", "sync file")
    spy(os, "fsync", "sync folder")
    spy(os, "link", "link")
    spy(Path, "rename", "rename")
    with connection.execute_wrapper(commit):
        yield found


def test_instance_is_stored_and_read_back(mode: None, folder: Path) -> None:
    _, content = instance()
    stored = send(content)
    assert (stored.outcome, read_object(stored.sha256)) == ("new", content)
    assert Instance.objects.get(pk=stored.instance_id).sha256 == stored.sha256
    assert list((folder / "spool").iterdir()) == []


def test_file_and_folder_are_synced_before_the_commit(mode: None, calls: list[str]) -> None:
    send(instance()[1])
    calls.clear()
    send(instance()[1])
    assert calls[-4:] == ["link", "sync file", "sync folder", "commit"]


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_failed_sync_records_nothing(mode: None, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    send(instance()[1])
    uid, content = instance()

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(os, call, fail)
        with pytest.raises(OSError, match="Input/output error"):
            send(content)
    assert not Instance.objects.filter(sop_instance_uid=uid).exists()
    assert send(content).outcome == "new"


def test_a_duplicate_never_replaces_a_durable_object(mode: None, calls: list[str]) -> None:
    content = instance()[1]
    stored = send(content)
    calls.clear()
    assert send(content).outcome == "duplicate"
    assert calls[:3] == ["link", "sync file", "rename"]
    assert read_object(stored.sha256) == content


def test_torn_object_of_a_crash_is_replaced(mode: None) -> None:
    content = instance()[1]
    with incoming_file() as file:
        file.write(content)
        key = object_key(file.finish())
    objects = store()
    assert isinstance(objects, FileStore)
    (objects.folder / key).parent.mkdir(parents=True)
    (objects.folder / key).write_bytes(b"torn")
    assert read_object(send(content).sha256) == content


def test_conflict_keeps_both(mode: None) -> None:
    uid, content = instance()
    other = content.replace(b"CompressedSamples", b"UncompressedSampl")
    outcomes = [send(content).outcome, send(other).outcome, send(content).outcome]
    assert outcomes == ["new", "conflict", "duplicate"]
    assert list(Instance.objects.filter(sop_instance_uid=uid).values_list("conflict", flat=True)) == [True, True]


def test_broken_connection_is_replaced(mode: None) -> None:
    send(instance()[1])
    connection.connection.close()
    assert send(instance()[1]).outcome == "new"


def test_refused_file_leaves_nothing(mode: None, folder: Path) -> None:
    with pytest.raises(RefusedError, match="truncated"):
        send(instance()[1][:-100])
    assert list((folder / "spool").iterdir()) == []
    assert not list((folder / "store").rglob("*"))


def test_unusual_file_is_read_back(mode: None) -> None:
    content = instance()[1]
    name = "Müller".encode("latin-1")
    unusual = content.replace(b"CompressedSamples", name.ljust(17))
    assert send(unusual).header.study["patient_name"].startswith("Müller")
