"""The spool: an incoming file under a random name, hashed and encrypted while it is written, then synced."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, BinaryIO

from django.conf import settings

from archive.encryption import EncryptingWriter, decrypting_reader

BUFFER = 1 << 17  # bytes; a small file is written at once


class StorageFullError(Exception):
    """The disk is full; nothing was stored. HTTP answers 507, DICOM A700."""


@lru_cache(maxsize=1)
def spool_folder() -> Path:
    """Return the spool folder; create it if it is missing."""
    folder: Path = settings.SPOOL_FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


class SpoolFile:
    """A file in the spool folder, open for writing.

    Raises:
        OSError: it cannot be created or written.

    """

    def __init__(self) -> None:
        self.path = spool_folder() / os.urandom(16).hex()
        self.size = 0
        self.is_published = False  # moved into the store
        self._file: IO[bytes] = self.path.open("xb", BUFFER)
        self._hash = hashlib.sha256()
        try:
            self._encryption = EncryptingWriter(self._file)
        except BaseException:
            self.discard()
            raise

    def write(self, part: bytes | memoryview) -> None:
        """Append bytes."""
        self._encryption.write(part)
        self._hash.update(part)
        self.size += len(part)

    def finish(self) -> str:
        """Complete the file without syncing it, and return the SHA-256 of its content."""
        self._encryption.finish()
        self._file.flush()
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Sync the finished file to disk, also after it was moved."""
        os.fdatasync(self._file.fileno())

    def is_at(self, path: Path) -> bool:
        """Return whether this file is the one at a path.

        Raises:
            FileNotFoundError: there is none.

        """
        return os.path.samestat(path.stat(), os.fstat(self._file.fileno()))

    def commit(self) -> str:
        """Complete the file, sync it to disk and return the SHA-256 of its content."""
        sha256 = self.finish()
        self.sync()
        return sha256

    def open(self) -> BinaryIO:
        """Open the finished content for reading."""
        return decrypting_reader(self.path.open("rb"))

    def discard(self) -> None:
        """Remove the file unless it was moved away."""
        if not self.is_published:
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the buffer cannot be flushed and is not needed
            self._file.close()


@contextmanager
def spool_file() -> Iterator[SpoolFile]:
    """Create a spool file that is removed when the block ends, unless it was moved away.

    Raises:
        StorageFullError: the disk is full.

    """
    with map_disk_full():
        file = SpoolFile()
        try:
            yield file
        finally:
            file.discard()


@contextmanager
def map_disk_full() -> Iterator[None]:
    """Map the errors of a full disk.

    Raises:
        StorageFullError: the disk is full.

    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError("the disk is full") from None
        raise
