"""A file on its way in: under a name of chance, hashed and sealed while it is written, synced; gone if not taken."""

import contextlib
import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, BinaryIO

from django.conf import settings

from archive.sealing import SealingWriter, opened


class StorageFullError(Exception):
    """There is no room; nothing was kept. HTTP says 507, DICOM A700."""


@lru_cache(maxsize=1)
def spool_folder() -> Path:
    """The folder, made where it is missing."""
    folder: Path = settings.SPOOL_FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


class Spooled:
    """A file in the spool folder, open for writing.

    Raises:
        OSError: it cannot be made, or written.

    """

    def __init__(self) -> None:
        self.path = spool_folder() / uuid.uuid4().hex
        self.size = 0
        self._file: IO[bytes] = self.path.open("xb")
        self._sealing = SealingWriter(self._file)
        self._hash = hashlib.sha256()

    def write(self, part: bytes) -> None:
        """The next bytes."""
        self._sealing.write(part)
        self._hash.update(part)
        self.size += len(part)

    def make_safe(self) -> str:
        """Sync to disk; the SHA-256 of the content."""
        self._sealing.end()
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._hash.hexdigest()

    def open(self) -> BinaryIO:
        """Read the content, once it is safe."""
        return opened(self.path.open("rb"))

    def discard(self) -> None:
        """Remove the file, unless it was moved away."""
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what is still in the buffer has no room, and is not wanted
            self._file.close()


@contextmanager
def spooled() -> Iterator[Spooled]:
    """A new file in the spool folder, which is gone when the block ends, unless it was moved away.

    Raises:
        StorageFullError: there is no room.

    """
    with full_disk_said():
        file = Spooled()
        try:
            yield file
        finally:
            file.discard()


@contextmanager
def full_disk_said() -> Iterator[None]:
    """Say of a full disk that it is one.

    Raises:
        StorageFullError: there is no room.

    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError("the disk is full") from None
        raise
