"""Find the archive's attributes in a DICOM file while its bytes stream past, in bounded memory and time.

The scanner knows the two encodings that nearly all files have, Explicit and Implicit VR Little Endian (PS3.5, 7 and A),
and steps over everything that it does not need. For anything unusual it gives up, and pydicom reads the file: what
the scanner returns is what pydicom would have returned.
"""

import re
import struct

from ingest.header import EXECUTABLES

# The attributes with their VR (PS3.6, 6), by tag
WANTED = {
    0x00020010: ("TransferSyntaxUID", b"UI"),
    0x00080005: ("SpecificCharacterSet", b"CS"),
    0x00080016: ("SOPClassUID", b"UI"),
    0x00080018: ("SOPInstanceUID", b"UI"),
    0x00080020: ("StudyDate", b"DA"),
    0x00080060: ("Modality", b"CS"),
    0x00100010: ("PatientName", b"PN"),
    0x00100020: ("PatientID", b"LO"),
    0x0020000D: ("StudyInstanceUID", b"UI"),
    0x0020000E: ("SeriesInstanceUID", b"UI"),
    0x00280002: ("SamplesPerPixel", b"US"),
    0x00280008: ("NumberOfFrames", b"IS"),
    0x00280010: ("Rows", b"US"),
    0x00280011: ("Columns", b"US"),
    0x00280100: ("BitsAllocated", b"US"),
}
PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
PIXEL_DATA = 0x7FE00010
ATTRIBUTES = WANTED.keys() | PIXELS.keys()

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = re.compile(r"1\.2\.840\.10008\.1\.2\.(?!2\Z|1\.99\Z)[0-9.]+\Z")  # neither big endian nor deflated
CHARACTER_SET = re.compile(r"(ISO_IR |ISO 2022 IR )[0-9]+\Z|GB18030\Z|GBK\Z|\Z")  # PS3.3, C.12.1.1.2
PLAIN = re.compile(rb"[ -\[\]-}]*[\0 ]*\Z")  # a single value, the same in each of these character sets

LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
SHORT_VRS = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"}
SHORT_VRS |= {b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
VRS = LONG_VRS | SHORT_VRS
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF

MAX_VALUE = 1024  # bytes of an attribute
MAX_ELEMENTS = 1 << 16  # of the data set; the standard defines about 5,000
MAX_NESTED = 1 << 21  # elements and items within sequences of undefined length
MAX_DEPTH = 100

META, DATA_SET, NESTED_DATA_SET, SEQUENCE, FRAGMENTS = range(5)  # what contains the next element
PREFIX_END = 132
EXPLICIT = struct.Struct("<HH2sH")
IMPLICIT = struct.Struct("<HHL")
LONG = struct.Struct("<L")


class HeaderBoundsError(Exception):
    """The header exceeds the bounds; no library should be asked to read it."""


class UnusualHeaderError(Exception):
    """The scanner does not interpret the file; pydicom may."""


class HeaderScanner:
    """Scans one file, which `feed` takes from its first byte to its last."""

    def __init__(self) -> None:
        self._pending = b""  # the start of an element that is not complete yet
        self._skip = 0  # bytes of a value to step over
        self._containers: list[int] = []
        self._implicit = False
        self._last_tag = 0
        self._elements = self._nested = 0
        self._values: dict[str, str | int] = {}
        self._gave_up = False

    def feed(self, part: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises:
            HeaderBoundsError: There are too many elements, or sequences are nested too deep.

        """
        if self._gave_up:
            return
        if self._skip >= len(part):
            self._skip -= len(part)
            return
        data = memoryview(self._pending + bytes(part)) if self._pending else memoryview(part)[self._skip :]
        try:
            end = self._scan(data)
        except UnusualHeaderError:
            self._gave_up, self._pending = True, b""
            return
        self._skip = max(0, end - len(data))
        self._pending = bytes(data[end:])

    def finish(self) -> tuple[dict[str, str | int], int] | None:
        """Return the attributes by keyword, and how many bytes are missing at the end; None to use pydicom instead.

        `TransferSyntaxUID` is among the attributes, and the keyword of the pixel data where there is one.
        """
        complete = self._containers == [DATA_SET] and self._elements and not self._pending and not self._gave_up
        return (self._values, self._skip) if complete else None

    def _scan(self, data: memoryview) -> int:
        """Return where the first incomplete element begins; behind the end of `data` when its value is not needed."""
        at, size = 0, len(data)
        if not self._containers:
            if size < PREFIX_END:
                return 0
            if bytes(data[128:PREFIX_END]) != b"DICM" or bytes(data[:16]).startswith(EXECUTABLES):
                raise UnusualHeaderError
            self._containers.append(META)
            at = PREFIX_END
        while at + 8 <= size:
            container, start = self._containers[-1], at
            if container == META and bytes(data[at : at + 2]) != b"\2\0":
                self._begin_data_set(bytes(data[at : at + 6]))
                continue
            if container in (SEQUENCE, FRAGMENTS):
                at = self._step_over_item(data, at, container)
            elif container == NESTED_DATA_SET:
                at = self._step_over_nested(data, at)
            else:
                at = self._take_elements(data, at, container)
            if at == start:
                break
        return at

    def _begin_data_set(self, start: bytes) -> None:
        """Choose the encoding of the data set behind the file meta information (PS3.10, 7.1)."""
        syntax = str(self._values.get("TransferSyntaxUID", ""))
        self._implicit = syntax == IMPLICIT_LITTLE
        if not (self._implicit or EXPLICIT_LITTLE.match(syntax)) or (self._implicit and start[4:] in VRS):
            raise UnusualHeaderError
        self._containers[-1] = DATA_SET
        self._elements = 0

    def _take_elements(self, data: memoryview, at: int, container: int) -> int:
        """Take elements until more bytes are needed or the container changes; return the end of the last one."""
        size, last_tag, count = len(data), self._last_tag, self._elements
        implicit, unpack_implicit, unpack_explicit = self._implicit, IMPLICIT.unpack_from, EXPLICIT.unpack_from
        vr = b""
        while at + 8 <= size:
            if implicit:  # PS3.5, 7.1.3
                group, element, length = unpack_implicit(data, at)
                value_at = at + 8
            else:  # PS3.5, 7.1.2
                group, element, vr, length = unpack_explicit(data, at)
                value_at = at + 8
                if container == META and group != 2:
                    break
                if vr not in SHORT_VRS:
                    if at + 12 > size:
                        break
                    (length,) = LONG.unpack_from(data, value_at)
                    value_at = at + 12
                    if vr not in LONG_VRS and group != 0xFFFE:
                        raise UnusualHeaderError
            tag = group << 16 | element
            if tag <= last_tag or group == 0xFFFE:
                raise UnusualHeaderError  # not in ascending order, or an item without a sequence
            end = value_at + length
            if tag in ATTRIBUTES:
                if tag in PIXELS:
                    self._values[PIXELS[tag]] = ""
                elif length > MAX_VALUE:
                    raise UnusualHeaderError
                elif end > size:
                    break
                else:
                    self._keep(tag, vr, bytes(data[value_at:end]))
            last_tag = tag
            count += 1
            if length == UNDEFINED:
                at = self._enter(container, tag, vr, value_at)
                break
            at = end
        self._last_tag, self._elements = last_tag, count
        if count > MAX_ELEMENTS:
            raise HeaderBoundsError(f"has more than {MAX_ELEMENTS:,} elements")
        return at

    def _step_over_nested(self, data: memoryview, at: int) -> int:
        """Step over an element in an item of undefined length; return `at` when more bytes are needed."""
        self._count_nested()
        group, element, length = IMPLICIT.unpack_from(data, at)
        tag, vr, value_at = group << 16 | element, b"", at + 8
        if tag == ITEM_END:
            self._containers.pop()
            return at + 8
        if not self._implicit:
            _, _, vr, length = EXPLICIT.unpack_from(data, at)
            if vr in LONG_VRS:
                if at + 12 > len(data):
                    return at
                (length,) = LONG.unpack_from(data, value_at)
                value_at = at + 12
        if group == 0xFFFE or not (self._implicit or vr in VRS):
            raise UnusualHeaderError
        if length == UNDEFINED:
            return self._enter(NESTED_DATA_SET, tag, vr, value_at)
        return value_at + int(length)

    def _enter(self, container: int, tag: int, vr: bytes, value_at: int) -> int:
        """Enter a sequence or pixel data of undefined length (PS3.5, 7.5 and A.4)."""
        if vr == b"SQ" or (self._implicit and tag != PIXEL_DATA):
            self._containers.append(SEQUENCE)
        elif tag == PIXEL_DATA and container == DATA_SET and vr in (b"OB", b"OW"):
            self._containers.append(FRAGMENTS)
        else:
            raise UnusualHeaderError
        if len(self._containers) > MAX_DEPTH:
            raise HeaderBoundsError("has sequences that are nested too deep")
        return value_at

    def _step_over_item(self, data: memoryview, at: int, container: int) -> int:
        """Step over an item of defined length, enter one of undefined length, or leave the sequence (PS3.5, 7.5)."""
        self._count_nested()
        group, element, length = IMPLICIT.unpack_from(data, at)
        tag = group << 16 | element
        if tag == SEQUENCE_END:
            self._containers.pop()
            return at + 8
        if tag != ITEM:
            raise UnusualHeaderError
        if length != UNDEFINED:
            return at + 8 + int(length)
        if container == FRAGMENTS:
            raise UnusualHeaderError
        self._containers.append(NESTED_DATA_SET)
        return at + 8

    def _count_nested(self) -> None:
        self._nested += 1
        if self._nested > MAX_NESTED:
            raise HeaderBoundsError(f"has more than {MAX_NESTED:,} elements in sequences")

    def _keep(self, tag: int, vr: bytes, value: bytes) -> None:
        """Keep an attribute's value; an empty one is "", or missing when it is a number."""
        keyword, expected = WANTED[tag]
        if vr != expected and not self._implicit:
            raise UnusualHeaderError
        if expected == b"US":
            if len(value) not in (0, 2):
                raise UnusualHeaderError
            if value:
                self._values[keyword] = int.from_bytes(value, "little")
            return
        if tag == 0x00080005:
            if not all(CHARACTER_SET.match(one.strip()) for one in value.decode("latin-1").rstrip("\0").split("\\")):
                raise UnusualHeaderError
            return
        if not PLAIN.match(value) or (expected == b"PN" and b"=" in value):
            raise UnusualHeaderError
        text = value.decode("ascii").rstrip("\0 ")
        if expected != b"IS":
            self._values[keyword] = text
        elif text.strip().isdigit():
            self._values[keyword] = int(text)
        elif text:
            raise UnusualHeaderError
