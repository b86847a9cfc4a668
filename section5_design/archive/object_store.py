"""Objects under the SHA-256 of their content, on a file system or in an S3-compatible store.

A name comes from content, never from a UID, so no sender can choose a path. The same content again is the same object.
The stores take and give sealed files; `open_object` gives what they hold.
"""

import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from django.conf import settings

from archive.sealing import SealBrokenError, opened

CHUNK = 1 << 20


class ObjectStore(Protocol):
    """What a store can do. Keys are relative paths of plain characters."""

    def put(self, file: Path, key: str) -> None:
        """Take a file, which is gone afterwards; safe on disk when this returns."""

    def open(self, key: str) -> BinaryIO:
        """Read an object.

        Raises:
            FileNotFoundError: there is none.

        """

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

    def names(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Keys under a prefix, with the time of each one's last writing, in seconds since 1970."""


class FileStore:
    """Objects as files. A file is renamed into place, so that an object is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, file: Path, key: str) -> None:
        """Take a file of the same file system, whose bytes have been synced."""
        place = self.folder / key
        if not place.parent.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(place.parent.parent)
        try:
            file.rename(place)
        except OSError:
            if not file.exists():
                raise
            copy = place.with_name(f"{place.name}.{os.getpid()}.part")  # the spool is on another file system
            with file.open("rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
                target.flush()
                os.fsync(target.fileno())
            copy.rename(place)
            file.unlink()
        sync_folder(place.parent)

    def open(self, key: str) -> BinaryIO:
        """Read an object."""
        return (self.folder / key).open("rb")

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        (self.folder / key).unlink(missing_ok=True)

    def names(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Keys under a prefix, with the time of each one's last writing."""
        for folder, _, files in os.walk(self.folder / prefix):
            for name in files:
                path = Path(folder, name)
                try:
                    yield str(path.relative_to(self.folder)), path.stat().st_mtime
                except FileNotFoundError:  # somebody was faster
                    continue


class RemoteFile(io.RawIOBase):
    """An object of a remote store, read in parts, with the interface of a file."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        part = bytes(self._reader.read(len(buffer)))
        buffer[: len(part)] = part
        return len(part)

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place."""
        return int(self._reader.seek(place, whence))

    def tell(self) -> int:
        """The place."""
        return int(self._reader.tell())


class RemoteStore:
    """Objects in an S3-compatible store, by obstore; s3://bucket/prefix, credentials as AWS's tools name them."""

    def __init__(self, url: str) -> None:
        from obstore.store import from_url

        self._store = from_url(url)

    def put(self, file: Path, key: str) -> None:
        """Send a file in parts, then remove it here; the store has it safe when it says so."""
        import obstore

        obstore.put(self._store, key, file)
        file.unlink()

    def open(self, key: str) -> BinaryIO:
        """Read an object, in parts."""
        import obstore

        return io.BufferedReader(RemoteFile(obstore.open_reader(self._store, key)), CHUNK)

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        import obstore

        obstore.delete(self._store, key)

    def names(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Keys under a prefix, with the time of each one's last writing."""
        import obstore

        for page in obstore.list(self._store, prefix):
            for found in page:
                yield found["path"], found["last_modified"].timestamp()


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder safe, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def object_key(sha256: str) -> str:
    """The key of an instance's bytes."""
    return f"objects/{sha256[:2]}/{sha256}"  # making a folder costs three times what a file does


def preview_key(instance_id: int, fence: int) -> str:
    """The key of a preview; a late twin of an attempt has another fence and so another key."""
    return f"previews/{instance_id % 1000:03}/{instance_id}-{fence}.png"


@lru_cache(maxsize=1)
def store() -> ObjectStore:
    """The store of STORAGE_URL."""
    url = urlsplit(settings.STORAGE_URL)
    return FileStore(Path(url.path)) if url.scheme == "file" else RemoteStore(settings.STORAGE_URL)


def open_object(key: str) -> BinaryIO:
    """What an object holds, unsealed while it is read.

    Raises:
        FileNotFoundError: there is none.
        SealBrokenError: it was altered; perhaps only in reading.

    """
    return opened(store().open(key))


def fault_of(sha256: str) -> str:
    """What is wrong with an instance's object, by hashing it anew; empty where it is as it was received."""
    try:
        with open_object(object_key(sha256)) as file:
            digest = hashlib.sha256()
            while part := file.read(CHUNK):
                digest.update(part)
    except FileNotFoundError:
        return "its object is missing"
    except SealBrokenError:
        return "its object was altered"
    return "" if digest.hexdigest() == sha256 else "its object was altered"
