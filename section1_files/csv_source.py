"""Convert the bytes of a file or of standard input to blocks of complete lines in UTF-8.

Handles compression, encodings and line endings; rejects what is not text. Reads forward only, so a pipe works too.
"""

import codecs
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from errors import InputError, os_error_text, require_regular_file

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STDIN = Path("-")
SAMPLE_BYTES = 1 << 16
BLOCK_BYTES = 4 << 20
MAX_LINE_BYTES = 16 << 20

UTF_8 = {"utf-8", "utf-8-sig"}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
FOREIGN_FORMATS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"{\\rtf": "an RTF document",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (export it as CSV)",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word document (export it as CSV)",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
}
MARKUP = [
    (re.compile(rb"(?:<!doctype html|<html|<head|<body|<table)\b", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"<\?xml\b|<[A-Za-z!][^\n]*>\s*(?:\n|\Z)"), "an XML document"),
    (
        re.compile(rb'\{\s*"[^"]*"\s*:|\[\s*(?:[\[{"]|-?[0-9][0-9.]*\s*[,\]])|(?:\{\s*\}|\[\s*\])\s*\Z'),
        "a JSON document",
    ),
]
C1_BYTES = re.compile(rb"[\x80-\x9f]")
C1_LETTERS = {code: bytes([code]).decode("windows-1252", "ignore") or chr(code) for code in range(0x80, 0xA0)}


class CsvSource:
    """Text of a CSV file. `encoding` is final once all blocks have been read."""

    def __init__(self, stream: io.BufferedReader, encoding: str | None = None) -> None:
        """Detect the encoding, unless it is given."""
        self._stream = stream
        self.block_bytes = BLOCK_BYTES
        self._first = stream.read(self.block_bytes)
        if not self._first:
            raise InputError(None, "empty file", "fetch or export it again")
        try:
            "".encode(encoding or "utf-8")  # fails for base64, which codecs.lookup finds, too
            self.encoding = codecs.lookup(encoding).name if encoding else guess_encoding(self._first[:SAMPLE_BYTES])
        except (LookupError, UnicodeError) as error:
            raise InputError(None, f"{encoding}: unknown encoding", "try utf-8 or windows-1252") from error
        self._is_transcoded = self.encoding not in UTF_8
        if not self._is_transcoded:
            self._first = self._first.removeprefix(codecs.BOM_UTF8)
        # UTF-8 may turn out to be wrong until a character beyond ASCII confirms it.
        self._is_guess = encoding is None and self.encoding == "utf-8"

    def iter_lines(self) -> Iterator[bytes]:
        """Yield blocks of complete lines, each line ended by LF; `to_utf8` must be applied to each in turn.

        CRLF and CR, also mixed with LF, become LF. A final LF is added where it is missing.
        """
        block = rest = b""
        for chunk in self._iter_chunks():
            text = rest + chunk
            rest = b"\r" if text.endswith(b"\r") else b""  # an LF may follow
            text = _normalize_newlines(text[: len(text) - len(rest)])
            end = text.rfind(b"\n") + 1
            rest = text[end:] + rest
            if len(rest) > MAX_LINE_BYTES:
                raise InputError(None, f"a line is longer than {MAX_LINE_BYTES >> 20} MiB", "is this a CSV file?")
            if end:
                if block:
                    yield block
                block = text[:end]
        block += _normalize_newlines(rest)
        if block:
            yield block if block.endswith(b"\n") else block + b"\n"

    def _iter_chunks(self) -> Iterator[bytes]:
        """Yield the file's bytes, converted to UTF-8 where the encoding is known to be another one."""
        chunks = chain([self._first], iter(lambda: self._stream.read(self.block_bytes), b""))
        self._first = b""
        if not self._is_transcoded:
            for chunk in chunks:
                if b"\n" in chunk and not chunk.endswith(b"\n"):
                    chunk += self._stream.readline(MAX_LINE_BYTES)  # a complete line saves a copy of the block
                yield chunk
            return
        try:
            yield from (text.encode() for text in codecs.iterdecode(chunks, self.encoding))
        except UnicodeError as error:
            problem = f"not in the encoding {self.encoding}"
            raise InputError(None, problem, "name the right one with --encoding") from error

    def to_utf8(self, text: bytes, first_line: int) -> bytes:
        """Return a block in UTF-8; where UTF-8 was only a guess, bytes that it does not allow are Windows-1252.

        Raises:
            InputError: A NUL byte, or a byte that does not fit the encoding.
        """
        if b"\0" in text:
            line = first_line + text.count(b"\n", 0, text.index(b"\0"))
            raise InputError(None, "NUL byte: the file is damaged or not text", line=line)
        if text.isascii() or self._is_transcoded:
            return text
        if self.encoding in UTF_8:
            try:
                text.decode()
            except UnicodeDecodeError as error:
                if not (self._is_guess and text[: error.start].isascii()):
                    line = first_line + text.count(b"\n", 0, error.start)
                    problem = f"byte 0x{text[error.start]:02X} is not UTF-8"
                    raise InputError(None, problem, "name the encoding with --encoding", line) from error
                self.encoding = "latin-1"
            else:
                self._is_guess = False
                return text
        if C1_BYTES.search(text):
            self.encoding = "windows-1252"  # and not Latin-1
        return text.decode("latin-1").translate(C1_LETTERS).encode()


def _normalize_newlines(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


@contextmanager
def open_csv(path: Path) -> Iterator[io.BufferedReader]:
    """Open a CSV file, gzip and zstd too, or standard input for `-`, as the stream of its decompressed bytes.

    Errors of the file system and of the decompression become InputError, also those while the file is read; an
    InputError without a path gets this one.
    """
    try:
        with ExitStack() as stack:
            stream: Any = sys.stdin.buffer if path == STDIN else require_regular_file(path).open("rb")
            stack.enter_context(stream)
            magic = stream.peek(4)[:4]
            if magic.startswith(b"\x1f\x8b"):
                stream = gzip.GzipFile(fileobj=stream)
            elif magic == b"\x28\xb5\x2f\xfd":
                stream = stack.enter_context(zstd.open(stream))
            yield stream
    except InputError as error:
        error.path = error.path or path
        raise
    except (gzip.BadGzipFile, zlib.error, zstd.ZstdError, EOFError) as error:
        raise InputError(path, "the compressed data are damaged or truncated", "fetch the file again") from error
    except OSError as error:
        raise InputError(path, f"cannot be read ({os_error_text(error)})", "check its permissions") from error


def guess_encoding(sample: bytes) -> str:
    """Return the encoding of a text by its first bytes, UTF-8 by default; reject other formats by name."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if sample.startswith(mark):
            return encoding
    for magic, name in FOREIGN_FORMATS.items():
        if sample.startswith(magic):
            raise InputError(None, f"not a CSV file but {name}")
    if sample[128:132] == b"DICM":
        raise InputError(None, "not a CSV file but a DICOM file", "read it with the dicom command")
    zeros = [half.count(0) / (len(half) or 1) for half in (sample[0::2], sample[1::2])]
    if max(zeros) > 0.4 and min(zeros) < 0.01:
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    controls = sum(sample.count(byte) for byte in range(32) if byte not in b"\t\n\v\f\r\x1a\x1b")
    if controls > max(2, 0.05 * len(sample)):
        raise InputError(None, "not a CSV file but binary data")
    return "utf-8"


def reject_markup(sample: bytes) -> None:
    """Reject HTML, XML and JSON, whatever the file's name says."""
    for pattern, name in MARKUP:
        if pattern.match(sample.lstrip()):
            raise InputError(None, f"not a CSV file but {name}", "check where it was downloaded from")
