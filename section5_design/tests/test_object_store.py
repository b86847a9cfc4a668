"""Objects under the name of their content, as files and on an S3 server."""

import os
from pathlib import Path

import pytest

from archive.object_store import FileStore, ObjectStore, StoreUnavailableError, object_key, preview_key
from archive.remote_store import RemoteStore
from object_server import ObjectServer

KEY = object_key("ab" * 32)


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    if request.param == "file":
        return FileStore(tmp_path / "store")
    server: ObjectServer = request.getfixturevalue("object_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return RemoteStore(server.new_url())


def spool(tmp_path: Path, content: bytes = b"content") -> Path:
    path = tmp_path / "spooled"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [0, 7, 12_000_000], ids=["empty", "small", "in-parts"])
def test_a_file_is_moved_in_and_read_back(tmp_path: Path, place: ObjectStore, size: int) -> None:
    content = os.urandom(size)
    place.put(spool(tmp_path, content), KEY)
    assert not (tmp_path / "spooled").exists()
    with place.open(KEY) as file:
        assert file.read() == content
    assert [name for name, _ in place.iter_keys("objects")] == [KEY]
    assert place.contains(KEY)


def test_parts_are_read_from_anywhere(tmp_path: Path, place: ObjectStore) -> None:
    content = os.urandom(3_000_000)
    place.put(spool(tmp_path, content), KEY)
    with place.open(KEY) as file:
        for position, size in ((2_999_990, 100), (0, 10), (1_048_570, 20), (3_000_000, 5), (70_000, 2_000_000)):
            file.seek(position)
            assert file.read(size) == content[position : position + size]
            assert file.tell() == min(position + size, len(content))
        assert file.seek(-4, os.SEEK_END) == len(content) - 4
        assert file.read() == content[-4:]


def test_the_same_again_is_the_same_object(tmp_path: Path, place: ObjectStore) -> None:
    for _ in range(2):
        place.put(spool(tmp_path), KEY)
    assert len(list(place.iter_keys("objects"))) == 1


def test_an_object_that_is_replaced_while_it_is_read_is_never_mixed(tmp_path: Path, place: ObjectStore) -> None:
    place.put(spool(tmp_path, b"a" * 3_000_000), KEY)
    with place.open(KEY) as file:
        assert file.read(10) == b"a" * 10
        place.put(spool(tmp_path, b"b" * 3_000_000), KEY)
        try:
            assert set(file.read()) == {ord("a")}
        except OSError as error:
            assert error.strerror == "the object was replaced while it was read"  # noqa: PT017  # files go on
    with place.open(KEY) as file:
        assert set(file.read()) == {ord("b")}


def test_a_spool_on_another_file_system_is_copied(tmp_path: Path) -> None:
    place, shared = FileStore(tmp_path / "store"), Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    source = shared / "section5-test"
    source.write_bytes(b"content")
    place.put(source, object_key("cd" * 32))
    assert not source.exists()
    with place.open(object_key("cd" * 32)) as file:
        assert file.read() == b"content"


def test_what_is_not_there(place: ObjectStore) -> None:
    assert not place.contains(KEY)
    assert list(place.iter_keys("objects/ab")) == []
    with pytest.raises(FileNotFoundError):
        place.open(KEY)
    place.delete(KEY)


def test_only_a_deleted_object_is_gone(tmp_path: Path, place: ObjectStore) -> None:
    others = [object_key("ab" * 31 + "cd"), object_key("cd" * 32), preview_key(5, 1)]
    for key in (KEY, *others):
        place.put(spool(tmp_path), key)
    place.delete(KEY)
    assert [name for name, _ in place.iter_keys("objects/ab")] == others[:1]
    assert [place.contains(key) for key in (KEY, *others)] == [False, True, True, True]


def test_attempts_of_one_instance_have_previews_of_their_own() -> None:
    assert preview_key(5, 1) != preview_key(5, 2)


def test_a_server_that_is_away_is_said_to_be_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ObjectServer(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        place = RemoteStore(server.new_url())
        place.put(spool(tmp_path), KEY)
        server.kill()
        for action in (place.open, place.delete, place.contains, lambda key: list(place.iter_keys(key))):
            with pytest.raises(StoreUnavailableError, match="does not respond"):
                action(KEY)
        again = spool(tmp_path)
        with pytest.raises(StoreUnavailableError):
            place.put(again, KEY)
        assert again.exists()
        server.start()
        with place.open(KEY) as file:
            assert file.read() == b"content"
