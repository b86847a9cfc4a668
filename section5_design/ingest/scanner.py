"""Scan a DICOM file for a few attributes, in bounded memory and time (PS3.5, 7; PS3.10, 7).

Elements are stepped over without being built, so that their number costs no memory, and is limited. Sequences and
encapsulated pixels are walked only if their length is undefined. Every length is checked against the end of the file.
"""

import io
import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
TRANSFER_SYNTAX = 0x00020010
DEFLATED, BIG_ENDIAN, IMPLICIT = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"
MAX_ELEMENTS, MAX_NESTED = 20_000, 2_000_000  # on the first level; on all levels
MAX_DEPTH = 40  # of nested sequences
MAX_VALUE = 1 << 12  # bytes kept of a value
MAX_INFLATED_BYTES, MAX_RATIO = 256 << 20, 200
CHUNK = 1 << 16


class ScanError(Exception):
    """The file is not structured as DICOM; the message says how, without patient data."""


class Inflated(io.RawIOBase):
    """The inflated content of a file, read forward only, up to a limit (PS3.5, A.5)."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file, self._limit = file, limit
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._size = 0
        self._pending = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Inflate the next bytes.

        Raises:
            ScanError: the content is larger than the limit, or corrupt.

        """
        while not self._inflater.eof:
            self._pending = self._pending or self._file.read(CHUNK)
            try:
                part = self._inflater.decompress(self._pending, len(buffer))
            except zlib.error:
                raise ScanError("its deflated elements are corrupt") from None
            if not part and not self._pending:
                return 0
            self._pending = self._inflater.unconsumed_tail
            if part:
                self._size += len(part)
                if self._size > self._limit:
                    raise ScanError(f"its deflated elements inflate to more than {self._limit >> 20} MB")
                buffer[: len(part)] = part
                return len(part)
        return 0


def scan(file: BinaryIO, size: int, wanted: Iterable[int]) -> tuple[Dataset, str]:
    """Return a data set of the wanted attributes that the file has, and its transfer syntax.

    Args:
        file: the file, at its start, with preamble and prefix.
        size: its length in bytes.
        wanted: tags on the first level; of a value at most 4 kB are kept.

    Raises:
        ScanError: the file is truncated, or not structured as DICOM.

    """
    file.seek(132)
    meta = Scanner(file, size, 132, explicit=True, endian="<")
    syntax = meta.scan_meta()
    start = meta.position
    file.seek(start)
    if syntax == DEFLATED:
        inflated = io.BufferedReader(Inflated(file, min(MAX_INFLATED_BYTES, (size + 5000) * MAX_RATIO)), CHUNK)
        scanner = Scanner(inflated, None, 0, explicit=True, endian="<")
    else:
        first = file.read(6)
        file.seek(start)
        explicit = syntax != IMPLICIT if len(first) < 6 else first[4:6].isalpha() and first[4:6].isupper()
        scanner = Scanner(file, size, start, explicit=explicit, endian=">" if syntax == BIG_ENDIAN else "<")
    return scanner.scan_dataset(frozenset(wanted)), syntax


class Scanner:
    """Steps over the elements of a file. `size` is None if the file is a stream of unknown length."""

    def __init__(self, file: BinaryIO, size: int | None, position: int, *, explicit: bool, endian: str) -> None:
        self._file, self._size = file, size
        self.position = position
        self._explicit, self._endian = explicit, endian
        self._explicit_header, self._implicit_header = struct.Struct(f"{endian}HH2sH"), struct.Struct(f"{endian}HHL")
        self._long = struct.Struct(f"{endian}L")
        self._count = 0

    def scan_meta(self) -> str:
        """Scan the file meta information (PS3.10, 7.1); stop before the data set and return the transfer syntax."""
        syntax = ""
        while True:
            group = self._file.read(2)
            self._file.seek(self.position)
            header = self._read_header(self._explicit) if group == b"\x02\x00" else None
            if header is None:
                return syntax
            tag, _, length = header
            if tag == TRANSFER_SYNTAX:
                syntax = self._read(min(length, MAX_VALUE)).decode("ascii", "replace").strip("\0 ")
                self._skip(length - min(length, MAX_VALUE))
            else:
                self._skip_value(length, self._explicit, 0)

    def scan_dataset(self, wanted: frozenset[int]) -> Dataset:
        """Scan a data set to the end of the file and return the wanted attributes."""
        found: dict[BaseTag, RawDataElement] = {}
        elements = 0
        while (header := self._read_header(self._explicit)) is not None:
            tag, vr, length = header
            elements += 1
            if elements > MAX_ELEMENTS:
                raise ScanError(f"has more than {MAX_ELEMENTS:,} elements")
            if tag not in wanted or length == UNDEFINED:
                if tag in wanted:
                    found[BaseTag(tag)] = self._element(tag, vr, b"")
                self._skip_value(length, self._explicit, 0)
                continue
            value = self._read(min(length, MAX_VALUE))
            found[BaseTag(tag)] = self._element(tag, vr, value)
            self._skip(length - len(value))
        if not elements:
            raise ScanError("contains no elements")
        dataset = Dataset()
        dataset._dict.update(found)
        dataset.set_original_encoding(not self._explicit, self._endian == "<")
        return dataset

    def _element(self, tag: int, vr: bytes, value: bytes) -> RawDataElement:
        name = vr.decode("ascii", "replace") if self._explicit else None
        return RawDataElement(BaseTag(tag), name, len(value), value, 0, not self._explicit, self._endian == "<")

    def _read_header(self, explicit: bool) -> tuple[int, bytes, int] | None:
        """Read a tag, its VR and its length (PS3.5, 7.1); None at the end of the file."""
        start = self._file.read(8)
        if not start:
            return None
        if len(start) < 8:
            raise ScanError("is truncated inside an element")
        self.position += 8
        self._count += 1
        if self._count > MAX_NESTED:
            raise ScanError(f"has more than {MAX_NESTED:,} elements")
        group, element, vr, length = self._explicit_header.unpack(start)
        if not explicit or group == 0xFFFE:
            group, element, length = self._implicit_header.unpack(start)
            return group << 16 | element, b"", length
        if vr in LONG_VRS:
            length = self._long.unpack(self._read(4))[0]
        elif not vr.isalpha():
            raise ScanError("has an element without a value representation")
        return group << 16 | element, vr, length

    def _skip_value(self, length: int, explicit: bool, depth: int) -> None:
        """Step over a value; walk the items of one of undefined length (PS3.5, 7.5 and A.4)."""
        if length != UNDEFINED:
            self._skip(length)
            return
        if depth > MAX_DEPTH:
            raise ScanError("has too deeply nested sequences")
        while True:
            header = self._read_header(explicit)
            if header is None:
                raise ScanError("is truncated inside a sequence")
            tag, _, item_length = header
            if tag == SEQUENCE_END:
                return
            if tag != ITEM:
                raise ScanError("has a sequence without items")
            if item_length == UNDEFINED:
                self._skip_item(explicit, depth)
            else:
                self._skip(item_length)

    def _skip_item(self, explicit: bool, depth: int) -> None:
        """Step over the elements of an item of undefined length."""
        while True:
            header = self._read_header(explicit)
            if header is None:
                raise ScanError("is truncated inside an item")
            tag, vr, length = header
            if tag == ITEM_END:
                return
            # UN of undefined length holds Implicit VR (PS3.5, 6.2.2, note 2).
            self._skip_value(length, explicit and vr != b"UN", depth + 1)

    def _read(self, count: int) -> bytes:
        part = self._file.read(count)
        if len(part) < count:
            raise ScanError(f"is truncated: {count - len(part)} bytes are missing at its end")
        self.position += count
        return part

    def _skip(self, count: int) -> None:
        if self._size is not None:
            if self.position + count > self._size:
                missing = self.position + count - self._size
                raise ScanError(f"is truncated: {missing} bytes are missing at its end")
            self._file.seek(count, io.SEEK_CUR)
            self.position += count
            return
        while count:
            part = len(self._read(min(count, CHUNK)))
            count -= part
