"""An instance on its way in: spooled, and its header read from the bytes as they pass."""

from collections.abc import Iterator
from contextlib import contextmanager

from archive.spool import SpoolFile, map_disk_full
from ingest.header import Header, RefusedError, build_header, read_header
from ingest.header_scanner import HeaderBoundsError, HeaderScanner


class IncomingFile(SpoolFile):
    """A spool file that knows its DICOM header when it is complete."""

    def __init__(self) -> None:
        super().__init__()
        self._scanner = HeaderScanner()
        self._refusal = ""

    def write(self, part: bytes | memoryview) -> None:
        """Append bytes."""
        super().write(part)
        try:
            self._scanner.feed(part)
        except HeaderBoundsError as error:
            self._refusal = str(error)

    def read_header(self) -> Header:
        """Return the header, once the file is finished; an unusual file is read back.

        Raises:
            RefusedError: not a valid DICOM file.

        """
        if self._refusal:
            raise RefusedError(self._refusal)
        found = self._scanner.finish()
        if found is None:
            with self.open() as content:
                return read_header(content, self.size)
        attributes, missing = found
        if missing:
            raise RefusedError(f"is truncated: {missing} bytes are missing at its end")
        return build_header(attributes, str(attributes["TransferSyntaxUID"]))


@contextmanager
def incoming_file() -> Iterator[IncomingFile]:
    """Create a file that is removed when the block ends, unless it was moved away.

    Raises:
        StorageFullError: the disk is full.

    """
    with map_disk_full():
        file = IncomingFile()
        try:
            yield file
        finally:
            file.discard()
