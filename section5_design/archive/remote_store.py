"""Objects in an S3-compatible store, by obstore."""

import contextlib
import errno
import io
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import from_url

from archive.object_store import CHUNK, StoreUnavailableError
from archive.spool import SpoolFile

# A sender waits for these; it then gets an error and sends again.
RETRY: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=15)}
TIMEOUTS: Any = {"connect_timeout": "5s", "timeout": "60s"}  # of a request, which carries 5 MB at most


@contextlib.contextmanager
def map_remote_errors() -> Iterator[None]:
    """Map obstore's errors to those of a file.

    Raises:
        StoreUnavailableError: the store does not respond, or refuses access.
        OSError: the object was replaced while it was read.

    """
    try:
        yield
    except PreconditionError:
        raise OSError(errno.ESTALE, "the object was replaced while it was read") from None
    except BaseError as error:
        reason = str(error).partition("\n")[0][:200]
        raise StoreUnavailableError(errno.EIO, f"the object store does not respond: {reason}") from None


class RemoteFile(io.RawIOBase):
    """An object with the interface of a file, read by ranges of one version: a sender may replace it meanwhile."""

    def __init__(self, store: Any, key: str) -> None:
        self._store, self._key, self._position = store, key, 0
        with map_remote_errors():
            found = obstore.head(store, key)
        self._size, self._version = found["size"], found["e_tag"]

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        with map_remote_errors():
            options: Any = {"range": (self._position, end), "if_match": self._version}
            part = obstore.get(self._store, self._key, options=options).bytes()
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def readall(self) -> bytes:
        """Read the rest at once."""
        return self.read(max(self._size - self._position, 0)) or b""

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + position
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position


class RemoteStore:
    """Objects under s3://bucket/prefix; credentials and endpoint as AWS's tools name them."""

    def __init__(self, url: str) -> None:
        # client_options would override the variable
        options: Any = {**TIMEOUTS, "allow_http": os.environ.get("AWS_ALLOW_HTTP") == "true"}
        self._store: Any = from_url(url, retry_config=RETRY, client_options=options)

    def put(self, file: Path, key: str) -> None:
        """Upload a file in parts and remove it here."""
        with map_remote_errors():
            obstore.put(self._store, key, file)
        file.unlink()

    def publish(self, file: SpoolFile, key: str) -> None:
        """Upload a finished file."""
        self.put(file.path, key)

    def sync(self, files: Mapping[str, SpoolFile]) -> None:
        """Do nothing: an upload is durable when the store acknowledged it."""

    def confirm(self, file: SpoolFile, key: str) -> bool:  # noqa: ARG002
        """Return whether the object exists."""
        return self.contains(key)

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading in parts."""
        return io.BufferedReader(RemoteFile(self._store, key), CHUNK)

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        with map_remote_errors():
            obstore.delete(self._store, key)

    def contains(self, key: str) -> bool:
        """Return whether an object exists."""
        try:
            with map_remote_errors():
                obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def iter_keys(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Iterate over the keys under a prefix, each with its modification time."""
        with map_remote_errors():
            for page in obstore.list(self._store, prefix):
                for found in page:
                    yield found["path"], found["last_modified"].timestamp()
