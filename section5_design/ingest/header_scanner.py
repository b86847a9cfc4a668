"""Find the archive's attributes in a DICOM file while its bytes stream past, in bounded memory and time.

Elements are stepped over without being built, so that their number costs no memory, and is limited; sequences and
pixels are walked only if their length is undefined (PS3.5, 7; PS3.10, 7). Values that are plain ASCII are decoded
here, all others by pydicom.
"""

import re
import struct
import warnings
import zlib
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

# The attributes that are kept, with their VR (PS3.6, 6), by tag. Of pixels only their presence is.
TRANSFER_SYNTAX, CHARACTER_SET = 0x00020010, 0x00080005
WANTED = {
    TRANSFER_SYNTAX: ("TransferSyntaxUID", b"UI"),
    CHARACTER_SET: ("SpecificCharacterSet", b"CS"),
    0x00080016: ("SOPClassUID", b"UI"),
    0x00080018: ("SOPInstanceUID", b"UI"),
    0x00080020: ("StudyDate", b"DA"),
    0x00080030: ("StudyTime", b"TM"),
    0x00080050: ("AccessionNumber", b"SH"),
    0x00080060: ("Modality", b"CS"),
    0x00080090: ("ReferringPhysicianName", b"PN"),
    0x00080201: ("TimezoneOffsetFromUTC", b"SH"),
    0x00081030: ("StudyDescription", b"LO"),
    0x0008103E: ("SeriesDescription", b"LO"),
    0x00100010: ("PatientName", b"PN"),
    0x00100020: ("PatientID", b"LO"),
    0x00100030: ("PatientBirthDate", b"DA"),
    0x00100040: ("PatientSex", b"CS"),
    0x00180015: ("BodyPartExamined", b"CS"),
    0x0020000D: ("StudyInstanceUID", b"UI"),
    0x0020000E: ("SeriesInstanceUID", b"UI"),
    0x00200010: ("StudyID", b"SH"),
    0x00200011: ("SeriesNumber", b"IS"),
    0x00200013: ("InstanceNumber", b"IS"),
    0x00280002: ("SamplesPerPixel", b"US"),
    0x00280008: ("NumberOfFrames", b"IS"),
    0x00280010: ("Rows", b"US"),
    0x00280011: ("Columns", b"US"),
    0x00280100: ("BitsAllocated", b"US"),
    0x00400244: ("PerformedProcedureStepStartDate", b"DA"),
    0x00400245: ("PerformedProcedureStepStartTime", b"TM"),
    0x7FE00008: ("FloatPixelData", b""),
    0x7FE00009: ("DoubleFloatPixelData", b""),
    0x7FE00010: ("PixelData", b""),
}
FIRST_PIXELS = 0x7FE00008
REQUESTS = 0x00400275  # RequestAttributesSequence, of which the bytes are kept
STEP = struct.Struct("<L2sH")  # tag with its halves swapped, VR and length of an element in Explicit VR Little Endian
STOPS = frozenset((tag & 0xFFFF) << 16 | tag >> 16 for tag in WANTED)

DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
EXECUTABLES = (b"MZ", b"\x7fELF", b"#!", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
KNOWN_CHARACTER_SET = re.compile(r"(ISO_IR |ISO 2022 IR )[0-9]+\Z|GB18030\Z|GBK\Z|\Z")  # PS3.3, C.12.1.1.2
PLAIN = re.compile(rb"[ -\[\]-}]*[\0 ]*\Z")  # a single value that is the same in each of these character sets

LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF

PREFIX_END = 132
MAX_VALUE = 1 << 12  # bytes kept of a value
MAX_SEQUENCE = 1 << 14  # bytes kept of a sequence
MAX_ELEMENTS = 20_000  # on the first level; the standard defines about 5,000
MAX_NESTED = 2_000_000  # elements and items in sequences of undefined length
MAX_DEPTH = 100
MAX_INFLATED, MAX_RATIO = 256 << 20, 200
CHUNK = 1 << 16

META, DATA_SET, NESTED, ITEMS = range(4)  # what contains the next element


@dataclass
class EncodedSequence:
    """The bytes of a sequence, as far as they are kept, and how they are encoded."""

    length: int
    is_implicit: bool
    is_little: bool
    content: bytearray = field(default_factory=bytearray)

    def keep(self, part: memoryview) -> None:
        """Append bytes up to the end of the sequence or the limit."""
        self.content += part[: min(self.length, MAX_SEQUENCE) - len(self.content)]


class ScanError(Exception):
    """The file is not structured as DICOM; the message says how, without patient data."""


class NotPlainError(Exception):
    """A value needs pydicom."""


class HeaderScanner:
    """Scans one file, which `feed` takes from its first byte to its last."""

    def __init__(self) -> None:
        self._error: ScanError | None = None
        self._pending = b""  # the start of an element that is not complete yet
        self._skip = 0  # bytes of a value to step over
        self._containers: list[tuple[int, bool | None]] = []  # each with whether it is in Implicit VR, None: not known
        self._endian = "<"
        self._elements = self._nested = 0
        self._values: dict[int, tuple[bytes, bytes]] = {}  # VR and value of each attribute found
        self._requests: EncodedSequence | None = None
        self._requests_at = 0  # where its bytes begin in those that are scanned now
        self._inflater: Any = None
        self._deflated = self._inflated = 0

    def feed(self, part: bytes | memoryview) -> None:
        """Take the next bytes; an error is raised by `finish`."""
        if self._error is not None:
            return
        try:
            if self._inflater is None:
                self._take(part)
            else:
                self._inflate(part)
        except ScanError as error:
            self._error, self._pending = error, b""

    def finish(self) -> dict[str, Any]:
        """Return the attributes that the file has, by keyword; pixels have the value "", a sequence is encoded.

        Raises:
            ScanError: The file is truncated, exceeds a limit, or is not structured as DICOM.

        """
        if self._error is not None:
            raise self._error
        if not self._containers:
            raise ScanError("not a DICOM file (no DICM prefix at byte 128)")
        if self._skip:
            raise ScanError(f"is truncated: {self._skip} bytes are missing at its end")
        if self._containers[-1][0] in (NESTED, ITEMS):
            raise ScanError("is truncated inside a sequence")
        if self._pending.strip(b"\0") or (self._inflater is not None and not self._inflater.eof):
            raise ScanError("is truncated inside an element")
        if not self._elements:
            raise ScanError("contains no elements")
        try:
            found = self._decode_plain()
        except NotPlainError:
            found = self._decode_with_pydicom()
        return found | ({"RequestAttributesSequence": self._requests} if self._requests else {})

    def _take(self, part: bytes | memoryview) -> None:
        """Scan the next bytes, inflated if need be."""
        self._keep(memoryview(part)[: self._skip])
        if self._skip >= len(part):
            self._skip -= len(part)
            return
        data = memoryview(self._pending + bytes(part)) if self._pending else memoryview(part)[self._skip :]
        self._requests_at = 0
        end = self._scan(data)
        self._keep(data[self._requests_at : end])
        self._skip = max(0, end - len(data))
        self._pending = bytes(data[end:])
        if self._inflater is not None and not self._inflated:
            deflated, self._pending = self._pending, b""
            self._inflate(deflated)

    def _keep(self, part: memoryview) -> None:
        if self._requests is not None:
            self._requests.keep(part)

    def _inflate(self, part: bytes | memoryview) -> None:
        """Inflate and scan the next bytes of a deflated data set (PS3.5, A.5)."""
        self._deflated += len(part)
        limit = min(MAX_INFLATED, (self._deflated + 5000) * MAX_RATIO)
        while not self._inflater.eof:
            try:
                data = self._inflater.decompress(part, CHUNK)
            except zlib.error:
                raise ScanError("its deflated elements are corrupt") from None
            self._inflated += len(data)
            if self._inflated > limit:
                raise ScanError(f"its deflated elements inflate to more than {limit >> 20} MB")
            self._take(data)
            part = self._inflater.unconsumed_tail
            if not part and len(data) < CHUNK:
                break

    def _scan(self, data: memoryview) -> int:
        """Return where the first incomplete element begins, beyond the end of `data` when its value is not needed."""
        at = 0
        if not self._containers:
            if len(data) < PREFIX_END:
                return 0
            self._check_prefix(bytes(data[:PREFIX_END]))
            self._containers.append((META, False))
            at = PREFIX_END
        while at + 8 <= len(data):
            start, kind = at, self._containers[-1][0]
            if kind == META and bytes(data[at : at + 2]) != b"\2\0":
                self._begin_data_set()
                if self._inflater is not None:
                    break
            elif kind == ITEMS:
                at = self._take_item(data, at)
            else:
                at = self._take_elements(data, at)
                if at == start:
                    break
        return at

    @staticmethod
    def _check_prefix(start: bytes) -> None:
        """Check preamble and prefix; a preamble that is a TIFF is allowed (PS3.10, 7.1)."""
        if not start.endswith(b"DICM"):
            raise ScanError("not a DICOM file (no DICM prefix at byte 128)")
        if start.startswith(EXECUTABLES):
            raise ScanError("its preamble is executable (CVE-2019-11687)")

    def _begin_data_set(self) -> None:
        """Choose how to read the data set behind the file meta information, by its transfer syntax."""
        _, value = self._values.get(TRANSFER_SYNTAX, (b"", b""))
        syntax = value.decode("ascii", "replace").strip("\0 ")
        if syntax == DEFLATED:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        elif syntax == BIG_ENDIAN:
            self._endian = ">"
        self._containers = [(DATA_SET, None)]
        self._elements = 0

    def _take_elements(self, data: memoryview, at: int) -> int:
        """Take elements until more bytes are needed or the container changes; return where the next one begins."""
        kind, implicit = self._containers[-1]
        if implicit is None:  # as pydicom does: some files are not encoded as they say, some only in their sequences
            vr = bytes(data[at + 4 : at + 6])
            implicit = not (vr.isalpha() and vr.isupper())
            self._containers[-1] = kind, implicit
        size, count = len(data), 0
        unpack = struct.Struct(f"{self._endian}HH2sH").unpack_from
        unpack_long = struct.Struct(f"{self._endian}L").unpack_from
        step = STEP.unpack_from
        is_common = kind != META and not implicit and self._endian == "<"
        while at + 8 <= size:
            if is_common:  # most elements are only stepped over
                swapped, vr, length = step(data, at)
                if vr in SHORT_VRS and swapped not in STOPS and swapped & 0xFFFF != 0xFFFE:
                    count += 1
                    at += 8 + length
                    continue
            group, element, vr, length = unpack(data, at)
            value_at = at + 8
            if kind == META and group != 2:
                break
            if implicit or vr not in SHORT_VRS:
                if vr in LONG_VRS and not implicit:  # PS3.5, 7.1.2
                    if at + 12 > size:
                        break
                    (length,) = unpack_long(data, value_at)
                    value_at = at + 12
                elif implicit or group == 0xFFFE or not b"AA" <= vr <= b"ZZ":  # PS3.5, 7.1.3
                    vr = b""
                    (length,) = unpack_long(data, at + 4)
            tag = group << 16 | element
            if kind != NESTED and tag in WANTED:
                kept = 0 if tag >= FIRST_PIXELS or length == UNDEFINED else min(length, MAX_VALUE)
                if value_at + kept > size:
                    break
                self._values[tag] = vr, bytes(data[value_at : value_at + kept])
            count += 1
            at = value_at
            if tag == REQUESTS and kind == DATA_SET and self._requests is None:
                self._requests = EncodedSequence(length, implicit or vr == b"UN", self._endian == "<")
                self._requests_at = at
            if group == 0xFFFE:
                self._leave_item(tag)
                break
            if length == UNDEFINED:
                self._enter(ITEMS, implicit or vr == b"UN")  # PS3.5, 6.2.2, note 2
                break
            at += length
        self._count(count, nested=kind == NESTED)
        return at

    def _take_item(self, data: memoryview, at: int) -> int:
        """Step over an item of defined length, enter one of undefined length, or leave the items (PS3.5, 7.5)."""
        self._count(1, nested=True)
        group, element, length = struct.unpack_from(f"{self._endian}HHL", data, at)
        tag = group << 16 | element
        if tag == SEQUENCE_END:
            self._containers.pop()
        elif tag != ITEM:
            raise ScanError("has a sequence without items")
        elif length == UNDEFINED:
            self._enter(NESTED, self._containers[-1][1] or None)
        else:
            return at + 8 + int(length)
        return at + 8

    def _leave_item(self, tag: int) -> None:
        if tag != ITEM_END or self._containers[-1][0] != NESTED:
            raise ScanError("has an item outside of a sequence")
        self._containers.pop()

    def _enter(self, kind: int, implicit: bool | None) -> None:
        self._containers.append((kind, implicit))
        if len(self._containers) > MAX_DEPTH:
            raise ScanError("has sequences that are nested too deep")

    def _count(self, count: int, *, nested: bool) -> None:
        if nested:
            self._nested += count
        else:
            self._elements += count
        if self._elements > MAX_ELEMENTS:
            raise ScanError(f"has more than {MAX_ELEMENTS:,} elements")
        if self._nested > MAX_NESTED:
            raise ScanError(f"has more than {MAX_NESTED:,} elements in sequences")

    def _decode_plain(self) -> dict[str, Any]:
        """Decode the values if each is plain.

        Raises:
            NotPlainError: One is not.

        """
        found: dict[str, Any] = {}
        for tag, (vr, value) in self._values.items():
            keyword, expected = WANTED[tag]
            if (vr and vr != expected and expected) or (expected != b"US" and not PLAIN.match(value)):
                raise NotPlainError
            if expected == b"US":
                if len(value) != 2:
                    raise NotPlainError
                found[keyword] = int.from_bytes(value, "little" if self._endian == "<" else "big")
                continue
            text = value.decode("ascii").rstrip("\0 ")
            if (expected == b"PN" and "=" in text) or (expected == b"IS" and not text.strip().isdigit()):
                raise NotPlainError
            if tag == CHARACTER_SET and not KNOWN_CHARACTER_SET.match(text.strip()):
                raise NotPlainError
            found[keyword] = text
        return found

    def _decode_with_pydicom(self) -> dict[str, Any]:
        """Decode the values by pydicom: other character sets, several values, other VRs than the standard's."""
        dataset = Dataset()
        for tag, (vr, value) in self._values.items():
            is_little = self._endian == "<" or tag == TRANSFER_SYNTAX
            name = vr.decode("ascii", "replace") or None
            dataset._dict[BaseTag(tag)] = RawDataElement(BaseTag(tag), name, len(value), value, 0, not vr, is_little)
        dataset.set_original_encoding(bool(self._containers[0][1]), self._endian == "<")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values are stored as received
            return {WANTED[tag][0]: dataset[tag].value if tag < FIRST_PIXELS else "" for tag in self._values}
