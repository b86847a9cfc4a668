"""From the bytes on disk to blocks of whole lines in UTF-8: decompression, encoding, line endings."""

import codecs
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from errors import InputError, printable
from errors import os_error_text as reason
from paths import require_regular_file as regular_file

SAMPLE_SIZE = 1 << 16
BLOCK_SIZE = 8 << 20
LINE_LIMIT = 16 << 20

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
FOREIGN_FORMATS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (export it as CSV)",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word document (export it as CSV)",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
}


class NotUtf8Error(Exception):
    """A byte that UTF-8 does not allow, and the line on which it stands."""

    def __init__(self, line: int, byte: int) -> None:
        super().__init__(line, byte)
        self.line, self.byte = line, byte


class LineStream(Protocol):
    """What this section needs of a file: bytes in UTF-8, by number and by line."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes (or characters' worth of them); none at the end."""

    def readline(self, size: int, /) -> bytes:
        """The rest of the line, up to `size`."""


class TranscodedStream:
    """A file in another encoding, or with lone CR as line ending, read as UTF-8 with LF."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text

    def read(self, size: int, /) -> bytes:
        """Up to `size` characters."""
        return self._text.read(size).encode("utf-8", "surrogatepass")

    def readline(self, size: int, /) -> bytes:
        """The rest of the line, up to `size` characters."""
        return self._text.readline(size).encode("utf-8", "surrogatepass")


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a CSV file, gzip and zstd too: the stream of its decompressed bytes, and the raw file below it.

    The raw file's position tells the progress. Errors of the file system and of the decompression that come up
    while the file is read become InputError.
    """
    shown = printable(str(path))
    try:
        with regular_file(path).open("rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic.startswith(GZIP_MAGIC):
                yield cast("BinaryIO", gzip.GzipFile(fileobj=raw)), raw
            elif magic == ZSTD_MAGIC:
                yield _zstd_stream(raw), raw
            else:
                yield raw, raw
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{shown}: the compressed data are damaged or cut short; fetch the file again") from error
    except OSError as error:
        raise InputError(f"{shown}: cannot be read ({reason(error)}); check its permissions") from error


def _zstd_stream(raw: BinaryIO) -> BinaryIO:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    class Reader(zstd.ZstdFile):
        """Speaks of damage with the same exception as gzip does."""

        def readinto(self, buffer: object) -> int:  # type: ignore[override,unused-ignore]
            try:
                return super().readinto(buffer)  # type: ignore[arg-type,unused-ignore]
            except zstd.ZstdError as error:
                raise EOFError(str(error)) from error

    return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", Reader(raw)), 1 << 20))


def guess_encoding(sample: bytes) -> str:
    """Encoding of a text, from its first bytes: byte order mark, the pattern of UTF-16 without one, else UTF-8.

    Raises:
        InputError: the bytes are no text; the message names the format where it is known.

    """
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if sample.startswith(mark):
            return encoding
    for magic, name in FOREIGN_FORMATS.items():
        if sample.startswith(magic):
            raise InputError(f"is not a CSV file but {name}")
    if sample[128:132] == b"DICM":
        raise InputError("is not a CSV file but a DICOM file; read it with the dicom command")
    even, odd = sample[0::2], sample[1::2]
    if odd.count(0) > 0.4 * len(odd) and even.count(0) < 0.01 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.4 * len(even) and odd.count(0) < 0.01 * len(odd):
        return "utf-16-be"
    controls = sum(sample.count(byte) for byte in range(32) if byte not in b"\t\n\v\f\r\x1a\x1b")
    if controls > max(2, 0.05 * len(sample)):
        raise InputError("is not a CSV file: it holds binary data")
    return "utf-8"


@contextmanager
def line_stream(stream: BinaryIO, sample: bytes, encoding: str) -> Iterator[LineStream]:
    """An opened file, whose first bytes are `sample`, from its start, as lines of UTF-8."""
    stream.seek(0)
    if codecs.lookup(encoding).name in {"utf-8", "utf-8-sig"} and (b"\r" not in sample or b"\n" in sample):
        if sample.startswith(codecs.BOM_UTF8):
            stream.read(len(codecs.BOM_UTF8))
        yield stream
        return
    text = io.TextIOWrapper(cast("io.BufferedReader", stream), encoding, newline=None)
    try:
        yield TranscodedStream(text)
    finally:
        text.detach()  # or it would close the file, which a second pass may need


def whole_line(stream: LineStream, line: int) -> bytes:
    """The next line, or the rest of the one begun, with LF at its end; empty at the end of the file.

    Raises:
        InputError: a line longer than LINE_LIMIT, which no CSV file has.

    """
    text = stream.readline(LINE_LIMIT)
    if len(text) >= LINE_LIMIT and not text.endswith(b"\n"):
        raise InputError(f"line {line:,} is longer than {LINE_LIMIT >> 20} MiB; is this a CSV file?")
    return text


def with_plain_line_ends(block: bytes) -> bytes:
    """The same lines, each ended by LF; CRLF and CR within quotes become LF too."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return block if block.endswith(b"\n") or not block else block + b"\n"


def check_text(block: bytes, first_line: int) -> None:
    """Refuse what is no text; `first_line` is the number of the block's first line in the file.

    Raises:
        InputError: a NUL byte.
        NotUtf8Error: the block is in another encoding.

    """
    if b"\0" in block:
        line = first_line + block.count(b"\n", 0, block.index(b"\0"))
        raise InputError(f"line {line:,} holds a NUL byte: the file is damaged or is no text")
    if block.isascii():
        return
    try:
        block.decode()
    except UnicodeDecodeError as error:
        raise NotUtf8Error(first_line + block.count(b"\n", 0, error.start), block[error.start]) from error
