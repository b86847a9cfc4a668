"""Objects under the SHA-256 of their content, on a file system or in an S3-compatible store.

A name comes from the content, never from a UID, so no sender can choose a path. Equal content is one object.
The stores hold encrypted files; `open_object` decrypts them.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from django.conf import settings

from archive.encryption import ObjectIntegrityError, decrypting_reader
from archive.spool import SpoolFile

CHUNK = 1 << 20


class StoreUnavailableError(OSError):
    """The object store does not respond."""


class ObjectStore(Protocol):
    """The interface of a store. Keys are relative paths of plain characters."""

    def put(self, file: Path, key: str) -> None:
        """Move a synced file into the store; it is durable when this returns."""

    def publish(self, file: SpoolFile, key: str) -> None:
        """Move a finished file into the store; it is durable when `sync` returned.

        An object that exists stays complete and durable all the time, also if the system crashes in between.
        """

    def sync(self, files: Mapping[str, SpoolFile]) -> None:
        """Make published files, by their keys, durable."""

    def confirm(self, file: SpoolFile, key: str) -> bool:
        """Return whether the object of a synced file exists; it is then durable, also if another sender replaced it."""

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading.

        Raises:
            FileNotFoundError: it does not exist.

        """

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""

    def contains(self, key: str) -> bool:
        """Return whether an object exists."""

    def iter_keys(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Iterate over the keys under a prefix, each with its modification time in seconds since 1970."""


class FileStore:
    """Objects as files. A file is renamed into place, so that an object is either complete or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: set[str] = set()  # folders that exist and are durable

    def publish(self, file: SpoolFile, key: str) -> None:
        """Link a finished file into the store."""
        try:  # unlike a rename, a link never replaces a durable object by one that is not
            os.link(file.path, self._prepare_folder(key))
            file.path.unlink()
        except OSError as error:  # it exists, perhaps torn by a crash; or the file system has no links, or is another
            if error.errno == errno.ENOENT:  # somebody removed the folder
                self._known.clear()
            file.sync()
            self.put(file.path, key)

    def sync(self, files: Mapping[str, SpoolFile]) -> None:
        """Sync published files, and then each of their folders once."""
        for file in files.values():
            file.sync()
        for folder in {key.rpartition("/")[0] for key in files}:
            sync_path(f"{self.folder}/{folder}")

    def confirm(self, file: SpoolFile, key: str) -> bool:
        """Return whether the object exists; sync it if it is not this file but another sender's."""
        try:
            if not file.is_at(self.folder / key):
                sync_path(self.folder / key)
                sync_path((self.folder / key).parent)
        except FileNotFoundError:
            return False
        return True

    def put(self, file: Path, key: str) -> None:
        """Move a synced file into the store."""
        target_path = Path(self._prepare_folder(key))
        try:
            file.rename(target_path)
        except OSError:
            if not file.exists():
                raise
            copy = target_path.with_name(
                f"{target_path.name}.{os.getpid()}.part"
            )  # the spool is on another file system
            with file.open("rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
                target.flush()
                os.fsync(target.fileno())
            copy.rename(target_path)
            file.unlink()
        sync_path(target_path.parent)

    def _prepare_folder(self, key: str) -> str:
        """Return the path of an object, in a folder that exists."""
        path = f"{self.folder}/{key}"
        folder = path.rpartition("/")[0]
        if folder not in self._known:
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_path(Path(folder).parent)  # another process may have made it and not synced it yet
            self._known.add(folder)
        return path

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading."""
        return (self.folder / key).open("rb")

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        (self.folder / key).unlink(missing_ok=True)

    def contains(self, key: str) -> bool:
        """Return whether an object exists."""
        return os.path.exists(f"{self.folder}/{key}")  # noqa: PTH110  # Path takes five times as long

    def iter_keys(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Iterate over the keys under a prefix, each with its modification time."""
        for folder, _, files in os.walk(self.folder / prefix):
            for name in files:
                path = Path(folder, name)
                try:
                    yield str(path.relative_to(self.folder)), path.stat().st_mtime
                except FileNotFoundError:  # deleted meanwhile
                    continue


def sync_path(path: str | Path) -> None:
    """Sync a file, or a folder, so that a new name in it is durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def object_key(sha256: str) -> str:
    """Return the key of an instance's object."""
    return f"objects/{sha256[:2]}/{sha256}"  # two levels only: creating a folder costs as much as three files


def preview_key(instance_id: int, fencing_token: int) -> str:
    """Return the key of a preview; each attempt has its own fencing token and so its own key.

    Images that arrive one after the other share a folder, which is created once.
    """
    return f"previews/{instance_id // 100 % 1000:03}/{instance_id}-{fencing_token}.png"


@lru_cache(maxsize=1)
def store() -> ObjectStore:
    """Return the store of STORAGE_URL."""
    url = urlsplit(settings.STORAGE_URL)
    if url.scheme == "file":
        return FileStore(Path(url.path))
    from archive.remote_store import RemoteStore

    return RemoteStore(settings.STORAGE_URL)


def open_object(key: str) -> BinaryIO:
    """Open an object for reading its decrypted content.

    Raises:
        FileNotFoundError: it does not exist.
        ObjectIntegrityError: it was altered; on opening or while reading.

    """
    return decrypting_reader(store().open(key))


def verify_object(sha256: str) -> str:
    """Hash an object again and return what is wrong with it; empty if it is as received."""
    try:
        with open_object(object_key(sha256)) as file:
            digest = hashlib.sha256()
            while part := file.read(CHUNK):
                digest.update(part)
    except FileNotFoundError:
        return "its object is missing"
    except ObjectIntegrityError:
        return "its object was altered"
    except OSError as error:
        return f"its object cannot be read: {error.strerror}"
    return "" if digest.hexdigest() == sha256 else "its object was altered"
