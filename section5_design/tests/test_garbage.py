"""Garbage collection never deletes an object that somebody just sent again and that was acknowledged."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections

from analysis.garbage import collect_previews
from analysis.models import Result
from archive import garbage
from archive.encryption import key_by_id, wrapping_key
from archive.garbage import collect_orphans, delete_if_unreferenced
from archive.models import Instance
from archive.object_store import object_key, preview_key, store
from archive.spool import spool_file, spool_folder
from core.partitions import make_partitions
from ingest.incoming import incoming_file
from ingest.store import Sender, Stored, publish_and_record, store_instance
from jobs.queue import claim, fail
from object_server import ObjectServer
from system import instance

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True, params=["file", "s3"])
def folders(
    request: pytest.FixtureRequest, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A store and a spool of the test's own; the keys of earlier tests went with their rows."""
    make_partitions()
    settings.STORAGE_URL, settings.SPOOL_FOLDER = f"file://{tmp_path / 'store'}", tmp_path / "spool"
    if request.param == "s3":
        server: ObjectServer = request.getfixturevalue("object_server")
        settings.STORAGE_URL = server.new_url()
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
    caches = (store, spool_folder, wrapping_key, key_by_id)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def send(content: bytes) -> Stored:
    with incoming_file() as file:
        file.write(content)
        return store_instance(file, Sender("folder:test"))


def orphan(content: bytes) -> str:
    """Leave the object of an instance without its row, as a crash between the two does; its hash."""
    with spool_file() as file:
        file.write(content)
        sha256 = file.commit()
        store().put(file.path, object_key(sha256))
    return sha256


def test_an_orphan_is_deleted() -> None:
    sha256 = orphan(instance()[1])
    assert collect_orphans(min_age=-1) == 1
    assert not store().contains(object_key(sha256))


def test_an_object_with_an_instance_is_preserved() -> None:
    stored = send(instance()[1])
    assert collect_orphans(min_age=-1) == 0
    assert store().contains(object_key(stored.sha256))


def test_a_recent_orphan_is_preserved() -> None:
    orphan(instance()[1])
    assert collect_orphans(min_age=60) == 0


def test_an_orphan_sent_again_during_collection_is_preserved(monkeypatch: pytest.MonkeyPatch) -> None:
    content = instance()[1]
    sha256 = orphan(content)
    found = garbage.find_referenced

    def then_sent_again(hashes: list[str]) -> set[str]:
        result = found(hashes)
        monkeypatch.setattr(garbage, "find_referenced", found)
        send(content)  # after the collector looked, before it deletes
        return result

    monkeypatch.setattr(garbage, "find_referenced", then_sent_again)
    assert collect_orphans(min_age=-1) == 0
    assert store().contains(object_key(sha256))


def test_the_collector_waits_for_an_instance_that_is_being_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = instance()[1]
    sha256 = orphan(content)
    in_transaction, may_commit = threading.Event(), threading.Event()
    confirm = type(store()).confirm

    def slow_confirm(self: Any, file: Any, key: str) -> bool:
        in_transaction.set()
        assert may_commit.wait(30)
        return confirm(self, file, key)

    monkeypatch.setattr(type(store()), "confirm", slow_confirm)

    def in_thread(action: Any, *arguments: Any) -> threading.Thread:
        def run() -> None:
            try:
                action(*arguments)
            finally:
                connections.close_all()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    sender = in_thread(send, content)
    assert in_transaction.wait(30)
    collector = in_thread(delete_if_unreferenced, sha256)
    wait_for_lock()
    may_commit.set()
    sender.join(30)
    collector.join(30)
    assert Instance.objects.filter(sha256=sha256).exists()
    assert store().contains(object_key(sha256))


def wait_for_lock() -> None:
    """Wait until somebody waits for an advisory lock."""
    from system import until

    def waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            return bool(cursor.fetchone()[0])

    until(waiting, 30)


def test_object_deleted_before_its_row_is_committed_is_not_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish = type(store()).publish

    def publish_and_delete(self: Any, file: Any, key: str) -> None:
        publish(self, file, key)
        assert delete_if_unreferenced(key.rpartition("/")[2])

    monkeypatch.setattr(type(store()), "publish", publish_and_delete)
    with incoming_file() as file:
        file.write(instance()[1])
        sha256 = file.finish()
        with pytest.raises(OSError, match="gone"):
            publish_and_record(file, file.read_header(), sha256, Sender("folder:test"))
    assert not Instance.objects.filter(sha256=sha256).exists()


def test_object_of_another_sender_is_synced_before_it_is_acknowledged(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Found by the model checker: the sender's own file was deleted as an orphan, and another's is in its place."""
    if not settings.STORAGE_URL.startswith("file:"):
        pytest.skip("an S3 server syncs by itself")
    content, synced = instance()[1], set()
    publish = type(store()).publish

    def noting(sync: Any) -> Any:
        def note(descriptor: int) -> None:
            synced.add(os.fstat(descriptor).st_ino)
            sync(descriptor)

        return note

    def publish_and_replace(self: Any, file: Any, key: str) -> None:
        publish(self, file, key)
        assert delete_if_unreferenced(key.rpartition("/")[2])
        publish(self, second, key)

    monkeypatch.setattr(os, "fsync", noting(os.fsync))
    monkeypatch.setattr(os, "fdatasync", noting(os.fdatasync))
    with incoming_file() as second:
        second.write(content)
        second.finish()
        monkeypatch.setattr(type(store()), "publish", publish_and_replace)
        stored = send(content)
        with store().open(object_key(stored.sha256)) as file:
            assert os.fstat(file.fileno()).st_ino in synced


def put_preview(key: str) -> None:
    with spool_file() as file:
        file.write(b"preview")
        file.commit()
        store().put(file.path, key)


def test_a_preview_of_a_running_job_is_kept_whatever_the_clock_says() -> None:
    """Found by the model checker: a worker that was stopped for longer than the age may still save its result."""
    stored = send(instance()[1])
    (lease,) = claim("small", 1, "worker")
    current, earlier = (preview_key(stored.instance_id, token) for token in (lease.fencing_token, 0))
    put_preview(current)
    put_preview(earlier)
    assert collect_previews(min_age=-1) == 1
    assert store().contains(current)
    fail(lease, "test", retryable=True)
    assert collect_previews(min_age=-1) == 1


def test_a_preview_without_a_result_is_deleted() -> None:
    key = preview_key(5, 1)
    put_preview(key)
    assert collect_previews(min_age=60) == 0
    assert collect_previews(min_age=-1) == 1
    assert not store().contains(key)


def test_a_preview_with_a_result_is_preserved() -> None:
    stored = send(instance()[1])
    key = preview_key(stored.instance_id, 1)
    put_preview(key)
    Result.objects.create(instance_id=stored.instance_id, fencing_token=1, figures={}, preview=key)
    assert collect_previews(min_age=-1) == 0
    assert store().contains(key)
