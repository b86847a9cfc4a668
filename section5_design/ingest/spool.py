"""A file on its way in: under a name of chance, hashed while it is written, synced; gone if it is not taken."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.conf import settings


class StorageFullError(Exception):
    """There is no room; nothing was kept. HTTP says 507, DICOM A700."""


class Spooled:
    """A file in the spool folder."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.size = 0
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, part: bytes) -> None:
        """The next bytes."""
        self._file.write(part)
        self._hash.update(part)
        self.size += len(part)

    def make_safe(self) -> str:
        """Sync to disk; the SHA-256 of the content."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._hash.hexdigest()


@contextmanager
def spooled() -> Iterator[Spooled]:
    """A new file in the spool folder, which is gone when the block ends, unless it was moved away.

    Raises:
        StorageFullError: there is no room.

    """
    folder: Path = settings.SPOOL_FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / uuid.uuid4().hex
    try:
        with path.open("xb") as file:
            yield Spooled(path, file)
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise StorageFullError("the disk is full") from None
        raise
    finally:
        path.unlink(missing_ok=True)
