"""Erasure: UIDs stay searchable in the audit log; content that is sent again meanwhile is preserved."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive import erasure, garbage
from archive.encryption import key_by_id, wrapping_key
from archive.erasure import erase_study
from archive.models import Instance, Study
from archive.object_store import object_key, store
from archive.spool import spool_folder
from audit.queries import find_events
from core.partitions import make_partitions
from ingest.incoming import incoming_file
from ingest.store import Sender, Stored, store_instance
from system import instance

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, settings: Any) -> Iterator[None]:
    make_partitions()
    settings.STORAGE_URL, settings.SPOOL_FOLDER = f"file://{tmp_path / 'store'}", tmp_path / "spool"
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


def test_audit_events_are_found_by_erased_uids() -> None:
    stored = send(instance(StudyInstanceUID="1.2.77.1")[1])
    erase_study(Study.objects.get(uid="1.2.77.1"), "person:a", "erased")
    assert [event["kind"] for event in find_events(None, uids=["1.2.77.1"])][:2] == ["erased", "received"]
    assert find_events(None, uids=[stored.header.sop_instance_uid])[0]["kind"] == "received"
    assert not store().contains(object_key(stored.sha256))


def test_content_sent_again_during_its_erasure_is_preserved(monkeypatch: pytest.MonkeyPatch) -> None:
    content = instance(StudyInstanceUID="1.2.77.2")[1]
    stored = send(content)
    delete = garbage.delete_if_unreferenced

    def after_it_was_sent_again(sha256: str) -> bool:
        send(content)  # the rows are gone, the object is not deleted yet
        return delete(sha256)

    monkeypatch.setattr(erasure, "delete_if_unreferenced", after_it_was_sent_again)
    erase_study(Study.objects.get(uid="1.2.77.2"), "person:a", "erased")
    assert Instance.objects.filter(sha256=stored.sha256).exists()
    assert store().contains(object_key(stored.sha256))
