"""Objects under the name of their content."""

from pathlib import Path

import pytest

from archive.object_store import FileStore, RemoteStore, object_key, preview_key


@pytest.fixture
def place(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def spool(tmp_path: Path, content: bytes = b"content") -> Path:
    path = tmp_path / "spooled"
    path.write_bytes(content)
    return path


def test_a_file_is_moved_in_and_read_back(tmp_path: Path, place: FileStore) -> None:
    key = object_key("ab" * 32)
    place.put(spool(tmp_path), key)
    assert not (tmp_path / "spooled").exists()
    with place.open(key) as file:
        assert file.read() == b"content"
    assert [name for name, _ in place.iter_keys("objects")] == [key]


def test_the_same_again_is_the_same_object(tmp_path: Path, place: FileStore) -> None:
    for _ in range(2):
        place.put(spool(tmp_path), object_key("ab" * 32))
    assert len(list(place.iter_keys("objects"))) == 1


def test_a_spool_on_another_file_system_is_copied(place: FileStore) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == place.folder.parent.stat().st_dev:
        pytest.skip("needs a second file system")
    source = shared / "section5-test"
    source.write_bytes(b"content")
    place.put(source, object_key("cd" * 32))
    assert not source.exists()
    with place.open(object_key("cd" * 32)) as file:
        assert file.read() == b"content"


def test_what_is_not_there(place: FileStore) -> None:
    with pytest.raises(FileNotFoundError):
        place.open(object_key("00" * 32))
    place.delete(object_key("00" * 32))


def test_attempts_of_one_instance_have_previews_of_their_own() -> None:
    assert preview_key(5, 1) != preview_key(5, 2)


def test_a_remote_store_does_the_same(tmp_path: Path) -> None:
    """By obstore's store in memory, which has the same interface as its S3 store."""
    remote = RemoteStore("memory:///")
    key = object_key("ab" * 32)
    remote.put(spool(tmp_path, b"c" * 3_000_000), key)
    assert not (tmp_path / "spooled").exists()
    with remote.open(key) as file:
        assert file.read() == b"c" * 3_000_000
        file.seek(1)
        assert bytes(file.read(2)) == b"cc"
    assert [name for name, _ in remote.iter_keys("objects")] == [key]
    remote.delete(key)
    remote.delete(key)
    assert list(remote.iter_keys("objects")) == []
    with pytest.raises(FileNotFoundError):
        remote.open(key)
