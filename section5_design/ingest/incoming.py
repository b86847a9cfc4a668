"""An instance on its way in: spooled, and its header read from the bytes as they pass."""

from collections.abc import Iterator
from contextlib import contextmanager

from archive.spool import SpoolFile, map_disk_full
from ingest.header import Header, read_header
from ingest.header_scanner import HeaderScanner


class IncomingFile(SpoolFile):
    """A spool file that knows its DICOM header when it is complete."""

    def __init__(self) -> None:
        super().__init__()
        self._scanner = HeaderScanner()

    def write(self, part: bytes | memoryview) -> None:
        """Append bytes."""
        super().write(part)
        self._scanner.feed(part)

    def read_header(self) -> Header:
        """Return the header of the complete file.

        Raises:
            RefusedError: not a valid DICOM file.

        """
        return read_header(self._scanner)


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
