"""DICOM headers: the data elements of a file without its pixels, and their values as text."""

import gzip
import io
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicom_tags import TagPath
from errors import InputError, count_noun, os_error_text, printable, require_regular_file

MODALITY = 0x00080060
# Elements that identify a data set without the PS3.10 preamble: ACR-NEMA recognition code, SOP class, SOP instance,
# modality, study.
IDENTIFYING = (0x00080010, 0x00080016, 0x00080018, MODALITY, 0x0020000D)
DIRECTORY_LABELS = {
    "PATIENT": ["PatientName", "PatientID"],
    "STUDY": ["StudyDate", "StudyDescription", "StudyID"],
    "SERIES": ["Modality", "SeriesNumber", "SeriesDescription"],
}
PIXEL_TAGS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
BULK_VRS = {"OB", "OD", "OF", "OL", "OV", "OW"}  # PS3.5 section 6.2
UNDEFINED = 0xFFFFFFFF
CHUNK_BYTES = 1 << 16
DEFER_BYTES = 1 << 18  # a longer value stays in the file until it is needed; a lookup table has at most 1 << 17
IN_MEMORY_BYTES = 1 << 20
SPOOL_BYTES = 16 << 20  # of unpacked data, in memory
MAX_UNPACKED_BYTES = 1 << 30
SHOWN_VALUES = 16
MAX_DEPTH = 64

TRUNCATED = "the file is truncated: elements or pixels are missing at its end"
DAMAGED = "damaged or truncated DICOM data"
NOT_DICOM = "not a DICOM file (no DICM prefix at byte 128)"
FETCH_AGAIN = "fetch the file again"


@dataclass(frozen=True)
class Value:
    """A data element as text; of bulk data and sequences, `text` is the size."""

    path: TagPath
    vr: str
    state: Literal["present", "empty", "absent", "invalid"]
    text: str = ""

    def __str__(self) -> str:
        """Return the text, or the state in angle brackets."""
        return printable(self.text) if self.state == "present" else f"<{self.state}>"


@dataclass
class Header:
    """The data elements of a file; `pixels` are those of its pixels, which stay in the file, by tag.

    A member of a ZIP archive has the path `archive.zip/member`. `truncated` is True where the file ends before its
    last element does.
    """

    path: Path
    dataset: Dataset
    byte_order: Literal["little", "big"]
    pixels: dict[int, RawDataElement] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    truncated: bool = False


class EofDetector:
    """A stream that detects reads beyond its end, except for the 8 bytes with which the next element would start."""

    def __init__(self, stream: BinaryIO) -> None:
        self.seek, self.tell, self._read = stream.seek, stream.tell, stream.read
        self.hit_eof = False

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes."""
        data = self._read(size)
        self.hit_eof |= len(data) < size and (len(data) > 0 or size != 8)
        return data


@contextmanager
def suppress_pydicom_output() -> Iterator[list[warnings.WarningMessage]]:
    """Collect pydicom's warnings and drop its log records: they quote values, which may identify patients."""
    logger = pydicom.config.logger
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    finally:
        logger.disabled = before


@contextmanager
def open_dicom(path: Path) -> Iterator[BinaryIO]:
    """Open the bytes of a DICOM file, with gzip, ZIP and the deflated transfer syntax (PS3.5 A.5) unpacked.

    `path` may name a member of a ZIP archive: `archive.zip/member`.
    """
    archive = None if path.exists() else next((parent for parent in path.parents if parent.is_file()), None)
    try:
        with ExitStack() as stack:
            if archive is not None and zipfile.is_zipfile(archive):
                members = stack.enter_context(zipfile.ZipFile(archive))
                packed: Any = stack.enter_context(members.open(path.relative_to(archive).as_posix()))
            else:
                stream = stack.enter_context(require_regular_file(path).open("rb"))
                packed = gzip.GzipFile(fileobj=stream) if stream.peek(2)[:2] == b"\x1f\x8b" else None
            if packed is not None:
                chunks = iter(lambda: packed.read(CHUNK_BYTES), b"")
                stream = stack.enter_context(_spool(path, chunks))
            start = stream.read(4096)
            stream.seek(0)
            if start[128:132] == b"DICM" and b"UI\x16\0" + DeflatedExplicitVRLittleEndian.encode() in start:
                stream = stack.enter_context(_spool(path, _inflate(stream)))
            yield stream
    except KeyError as error:
        raise InputError(path, "no such member in the ZIP archive", "check the name") from error
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        problem = "encrypted ZIP archive" if "password" in str(error) else "damaged or truncated compressed data"
        raise InputError(path, problem, FETCH_AGAIN) from error
    except OSError as error:
        advice = "check its permissions" if isinstance(error, PermissionError) else ""
        raise InputError(path, f"cannot be read ({os_error_text(error)})", advice) from error


@contextmanager
def _spool(path: Path, chunks: Iterable[bytes]) -> Iterator[Any]:
    """Copy unpacked data to a temporary file, in memory while it is small."""
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as stream:
        for chunk in chunks:
            stream.write(chunk)
            if stream.tell() > MAX_UNPACKED_BYTES:
                raise InputError(path, f"unpacks to more than {MAX_UNPACKED_BYTES >> 20:,} MiB", "unpack it yourself")
        stream.seek(0)
        yield stream


def _inflate(stream: Any) -> Iterator[bytes]:
    """Yield the file meta information of a file, then its inflated data set."""
    _read_file_meta(stream)
    position = stream.tell()
    stream.seek(0)
    yield stream.read(position)
    inflator = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflator.eof and (data := inflator.unconsumed_tail or stream.read(CHUNK_BYTES)):
        yield inflator.decompress(data, CHUNK_BYTES)
    yield inflator.flush()


def _read_file_meta(stream: Any) -> Dataset:
    """Read the file meta information (PS3.10 section 7.1) if present, and stop at the data set."""
    start = stream.read(134)
    position = 132 if start[128:132] == b"DICM" else 0
    stream.seek(position)
    if start[position : position + 2] != b"\x02\0":
        return Dataset()
    return read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)


def read_header(path: Path, only: Sequence[int] | None = None) -> Header:
    """Read the header of a DICOM file (PS3.10), or of a data set without the PS3.10 preamble.

    `only` are the tags to read; every element by default.

    Raises:
        InputError: The file cannot be read, or is not DICOM.
    """
    with suppress_pydicom_output(), open_dicom(path) as stream:
        start = stream.read(132)
        has_prefix = start[128:] == b"DICM"
        problem, advice = (DAMAGED, FETCH_AGAIN) if has_prefix else (NOT_DICOM, "check that it is the right file")
        if not has_prefix and start[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08"):
            raise InputError(path, problem, advice)
        try:
            header = _parse(path, stream, only)
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the operating system; pydicom raises OSError without a number for damaged sequences
            raise InputError(path, problem, advice) from error
    dataset = header.dataset
    if not (len(dataset) or len(dataset.file_meta) if has_prefix else any(tag in dataset for tag in IDENTIFYING)):
        raise InputError(path, problem, advice)
    if header.truncated:
        header.remarks.append(TRUNCATED)
    elif "Rows" in dataset and not header.pixels and "PixelDataProviderURL" not in dataset:
        header.remarks.append("describes an image but holds no pixels")
    return header


def _parse(path: Path, stream: Any, only: Sequence[int] | None) -> Header:
    pixels: dict[int, RawDataElement] = {}
    last_end = 0

    def inspect(tag: int, vr: str | None, length: int) -> bool:
        nonlocal last_end
        if length != UNDEFINED:
            last_end = stream.tell() + length
        if tag in PIXEL_TAGS:
            pixels[tag] = RawDataElement(Tag(tag), vr or "OW", length, None, stream.tell(), not explicit, not big)
        return False  # go on

    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if size <= IN_MEMORY_BYTES:
        stream = io.BytesIO(stream.read())  # without a system call for every element
    meta = _read_file_meta(stream)
    position = stream.tell()
    first = stream.read(6)
    stream.seek(position)
    # The first element shows the encoding, whatever the transfer syntax claims.
    explicit = first[4:6].isalpha() and first[4:6].isupper()
    big = explicit and first[:2] in (b"\0\x04", b"\0\x08", b"\0\x10")
    detector = EofDetector(stream)
    dataset = read_dataset(
        cast("Any", detector),
        not explicit,
        not big,
        bytelength=size - position,
        stop_when=inspect,
        defer_size=DEFER_BYTES,
        specific_tags=cast("Any", None if only is None else [*only, *IDENTIFYING]),
    )
    cast("Any", dataset).file_meta = meta
    return Header(path, dataset, "big" if big else "little", pixels, truncated=detector.hit_eof or last_end > size)


def load_deferred(header: Header, key: int | str) -> Dataset:
    """Read the value of a top-level element that was too long to be read with the header; return the data set."""
    dataset = header.dataset
    raw = dataset.get_item(key, keep_deferred=True) if key in dataset else None
    if isinstance(raw, RawDataElement) and raw.value is None and raw.length:
        with open_dicom(header.path) as stream:
            stream.seek(raw.value_tell)
            dataset[raw.tag] = raw._replace(value=stream.read(raw.length))
    return dataset


def get_value(header: Header, path: TagPath) -> Value:
    """Return a data element of a file as text; absent, empty and invalid are different states."""
    dataset = header.dataset
    for tag, number in path.parents:
        items = _get_items(header, dataset, tag)
        if number >= len(items):
            return Value(path, "", "absent")
        dataset = items[number]
    return _get_value(header, dataset, path)


def _get_value(header: Header, dataset: Dataset, path: TagPath) -> Value:
    tag = path.tag
    if dataset is header.dataset and tag >> 16 == 2:
        dataset = header.dataset.file_meta
    is_pixels = dataset is header.dataset and tag in header.pixels
    if tag not in dataset and not is_pixels:
        return Value(path, "", "absent")
    raw: Any = header.pixels[tag] if is_pixels else dataset.get_item(tag, keep_deferred=True)
    vr = raw.VR or "UN"
    if is_pixels or (isinstance(raw, RawDataElement) and raw.length and vr in BULK_VRS):
        size = "compressed frames" if is_pixels and raw.length == UNDEFINED else f"{raw.length:,} bytes"
        return Value(path, vr, "present", size)
    decoded = _decode(header, dataset, tag)
    if decoded is None:
        return Value(path, vr, "invalid")
    element, text = decoded
    return Value(path, element.VR, "empty" if text is None else "present", text or "")


def _decode(header: Header, dataset: Dataset, tag: int) -> tuple[DataElement, str | None] | None:
    """Return a data element and its value as text; None where it is absent or cannot be decoded."""
    try:
        with suppress_pydicom_output():
            if dataset is header.dataset:
                load_deferred(header, tag)
            return dataset[tag], _format(dataset[tag].value, dataset[tag].VR)
    except Exception:  # noqa: BLE001 (pydicom raises many types for a damaged value)
        return None


def _get_items(header: Header, dataset: Dataset, tag: int) -> Sequence[Dataset]:
    """Return the items of a sequence; none where the element is not a valid sequence."""
    decoded = _decode(header, dataset, tag)
    return decoded[0].value if decoded and isinstance(decoded[0].value, pydicom.Sequence) else []


def iter_values(header: Header) -> Iterator[Value]:
    """Yield every data element of a file in order, those inside sequences after their sequence."""

    def walk(dataset: Dataset, tags: Iterable[int], parents: tuple[tuple[int, int], ...]) -> Iterator[Value]:
        for tag in sorted(map(int, tags)):
            value = _get_value(header, dataset, TagPath(tag, parents))
            yield value
            items = _get_items(header, dataset, tag) if value.vr == "SQ" and len(parents) < MAX_DEPTH else []
            for number, item in enumerate(items):
                yield from walk(item, item.keys(), (*parents, (tag, number)))

    tags = {*header.dataset.file_meta.keys(), *header.dataset.keys(), *header.pixels}
    yield from walk(header.dataset, tags, ())


def _format(value: object, vr: str) -> str | None:
    """Return a value as text, or None where it is empty."""
    if isinstance(value, pydicom.Sequence):
        return count_noun(len(value), "item")
    if isinstance(value, bytes):
        return f"{len(value):,} bytes" if value else None
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, UID):
        return str(value) if value.name == value else f"{value} ({value.name})"
    if isinstance(value, (MultiValue, list)):
        more = f"\\… ({len(value):,} values)" if len(value) > SHOWN_VALUES else ""
        return "\\".join(_format(part, vr) or "" for part in value[:SHOWN_VALUES]) + more
    text = str(value)
    if vr == "DA" and len(text) == 10 and text[4] == text[7] == ".":  # ACR-NEMA 2.0 wrote 1993.04.30
        return text.replace(".", "")
    return text


def check_character_set(header: Header) -> list[str]:
    """Return a remark where pydicom does not know the file's character set, so that names may look wrong."""
    try:
        with suppress_pydicom_output() as caught:
            pydicom.charset.convert_encodings(cast("Any", header.dataset.get("SpecificCharacterSet")) or [])
            is_known = not caught
    except Exception:  # noqa: BLE001 (pydicom raises many types for a damaged value)
        is_known = False
    return [] if is_known else ["unknown character set: names may look wrong"]


def format_directory(header: Header) -> list[str]:
    """Return the patients, studies and series of a DICOMDIR (PS3.3 annex F), indented, with their object counts."""
    items = _get_items(header, header.dataset, Tag("DirectoryRecordSequence"))
    records = {str(cast("Any", item).seq_item_tell): item for item in items}
    lines: list[str] = []

    def get(item: Dataset, keyword: str) -> str:
        return _get_value(header, item, TagPath(Tag(keyword))).text

    def follow(offset: str, depth: int) -> int:
        """Append the records that are chained from `offset`; return how many of them are objects."""
        objects = 0
        while depth < MAX_DEPTH and (item := records.pop(offset, None)):
            kind = get(item, "DirectoryRecordType")
            position = len(lines)
            below = follow(get(item, "OffsetOfReferencedLowerLevelDirectoryEntity"), depth + 1)
            if kind in DIRECTORY_LABELS:
                label = "  ".join(filter(None, (get(item, keyword) for keyword in DIRECTORY_LABELS[kind])))
                count = f"  ({count_noun(below, 'object')})" if kind == "SERIES" else ""
                lines.insert(position, printable(f"{'  ' * depth}{kind.capitalize()}  {label}{count}"))
            objects += below + (kind not in DIRECTORY_LABELS)
            offset = get(item, "OffsetOfTheNextDirectoryRecord")
        return objects

    follow(get(header.dataset, "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity"), 0)
    return lines
