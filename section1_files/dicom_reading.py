"""DICOM files: their header without the pixels, and the values in it."""

import io
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from dicom_tags import Step, TagPath
from errors import InputError, printable, reason, regular_file

PATIENT_NAME, STUDY_DATE, MODALITY, CHARACTER_SET = 0x00100010, 0x00080020, 0x00080060, 0x00080005
IDENTIFYING = (0x00080016, 0x00080018, 0x0020000D, MODALITY)  # SOP class and instance, study, modality
BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
PIXEL_TAGS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
PIXEL_TAG_BYTES = {
    (tag >> 16).to_bytes(2, order) + (tag & 0xFFFF).to_bytes(2, order) for tag in PIXEL_TAGS for order in BYTE_ORDERS
}
BULK_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}  # PS3.5 section 6.2: values that are not for reading
LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
ITEM, SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
HEADER_SIZE = 8  # bytes of tag, VR and length, without the extra 4 of a long length
UNDEFINED = 0xFFFFFFFF
DEFERRED = 1 << 20  # bytes; a longer value is left in the file
FIRST_BYTES = 1 << 16
SHOWN_VALUES = 16

ENDS_EARLY = "the file ends early: elements or pixels are missing at its end"
NO_PIXELS = "it describes an image but holds no pixels"
DAMAGED = "the DICOM data are damaged or cut short; fetch the file again"
NOT_DICOM = "not a DICOM file; check that it is the right file"


class State(Enum):
    """What a file says of a data element."""

    PRESENT = "present"
    EMPTY = "empty"
    ABSENT = "absent"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Value:
    """A data element as it is shown: `text` is its value, or for bulk data and sequences their size."""

    path: TagPath
    vr: str
    state: State
    text: str = ""

    def __str__(self) -> str:
        return printable(self.text) if self.state is State.PRESENT else f"<{self.state.value}>"


@dataclass
class Header:
    """The data elements of a file without its pixels, and what a reader should know of the file.

    `bulk` has VR and length in bytes (None: undefined) of the pixel data elements.
    """

    path: Path
    dataset: Dataset
    remarks: list[str] = field(default_factory=list)
    bulk: dict[int, tuple[str, int | None]] = field(default_factory=dict)


class WatchedFile(io.BufferedReader):
    """A file that notices when a reader wants more than it has.

    A reader finds the regular end by asking once for the 8 bytes of another element's header and getting none.
    """

    came_short = False
    _at_end = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes."""
        data = super().read(size)
        if size is not None and len(data) < size and self.tell() > len(data):
            self.came_short |= bool(data) or self._at_end or size != HEADER_SIZE
            self._at_end = True
        return data


def read_header(path: Path, only: Sequence[int] | None = None) -> Header:
    """Read the header of a DICOM file (PS3.10), or of a data set without the PS3.10 preamble; `only` some tags.

    Raises:
        InputError: the file cannot be read or is not DICOM; the message starts with its path.

    """
    shown = printable(str(regular_file(path)))
    try:
        with WatchedFile(io.FileIO(path)) as file, quiet() as caught:
            return _header(path, file, only, caught)
    except InputError as error:
        raise InputError(f"{shown}: {error}") from error
    except PermissionError as error:
        raise InputError(f"{shown}: cannot be read ({reason(error)}); check its permissions") from error
    except OSError as error:
        raise InputError(f"{shown}: cannot be read ({reason(error)})") from error


def _header(
    path: Path, file: "WatchedFile", only: Sequence[int] | None, caught: list[warnings.WarningMessage]
) -> Header:
    dataset = _dataset_in_first_bytes(file, only)
    if dataset is None:
        caught.clear()
        dataset = _dataset(file, only)
    header = Header(path, dataset)
    if is_deflated(dataset):
        _look_into_deflated_pixels(file, header)
    size = path.stat().st_size
    whole = True
    if file.tell() < size:
        implicit, little = dataset.original_encoding
        whole = _step_over_pixels(file, header, implicit=bool(implicit), little=bool(little))
    # A value that is skipped unread may lie beyond the end.
    skipped_too_far = file.tell() > size
    if not whole or file.came_short or skipped_too_far or any("end of file" in str(w.message).lower() for w in caught):
        header.remarks.append(ENDS_EARLY)
    if "Rows" in dataset and not header.bulk and not header.remarks and "PixelDataProviderURL" not in dataset:
        header.remarks.append(NO_PIXELS)
    if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        header.remarks.append("a DICOMDIR: it lists the files of a medium, name one of those")
    return header


def is_deflated(dataset: Dataset) -> bool:
    """Whether the data set is compressed as a whole (PS3.5 A.5)."""
    return bool(dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian)


def _look_into_deflated_pixels(file: BinaryIO, header: Header) -> None:
    """Note the sizes of pixel data elements that can only be reached by inflating everything before them."""
    file.seek(0)
    with parser_errors(DAMAGED):
        whole = pydicom.dcmread(file)
    for tag in PIXEL_TAGS & set(whole.keys()):
        element = whole.get_item(tag)
        header.bulk[tag] = str(element.VR), len(element.value)


def _dataset_in_first_bytes(file: BinaryIO, only: Sequence[int] | None) -> pydicom.FileDataset | None:
    """The elements before the pixels where these begin early in the file: in memory, pydicom's parser is quicker.

    The file then stands at the pixels, otherwise at its start.
    """
    start = io.BytesIO(file.read(FIRST_BYTES))
    file.seek(0)
    try:
        dataset = _dataset(start, only)
    except InputError:
        return None
    at = start.tell()
    if start.read(4) not in PIXEL_TAG_BYTES:
        return None
    file.seek(at)
    return dataset


@contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Collect pydicom's warnings instead of showing them: they quote values, which may name patients."""
    logger = pydicom.config.logger
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    finally:
        logger.disabled = before


@contextmanager
def parser_errors(message: str) -> Iterator[None]:
    """Turn whatever pydicom's parser stumbles over into an InputError with this message."""
    try:
        yield
    except OSError:
        raise
    except zlib.error as error:
        raise InputError("the deflated data set is damaged or cut short; fetch the file again") from error
    except Exception as error:
        raise InputError(message) from error


def _dataset(file: BinaryIO, only: Sequence[int] | None) -> pydicom.FileDataset:
    """The elements before the pixels; the file stands at the first pixel data element, or at its end."""
    has_preamble = file.read(132)[128:] == b"DICM"
    file.seek(0)
    tags = None if only is None else [*only, *IDENTIFYING]
    with parser_errors(DAMAGED if has_preamble else NOT_DICOM):
        dataset = pydicom.dcmread(file, DEFERRED, stop_before_pixels=True, force=True, specific_tags=tags)
    # pydicom finds elements in any bytes: without a preamble, ask for one that every composite instance has.
    if not has_preamble and not any(tag in dataset for tag in IDENTIFYING):
        raise InputError(NOT_DICOM)
    if has_preamble and not len(dataset) and not len(dataset.file_meta):
        raise InputError(DAMAGED)
    return dataset


def _step_over_pixels(file: BinaryIO, header: Header, *, implicit: bool, little: bool) -> bool:
    """Step over the pixel data elements, note their sizes, and read what follows; False when a fragment is cut."""
    order: Literal["little", "big"] = "little" if little else "big"
    while head := file.read(HEADER_SIZE):
        tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
        if tag not in PIXEL_TAGS:
            file.seek(-len(head), io.SEEK_CUR)
            with parser_errors(DAMAGED):
                header.dataset.update(read_dataset(file, implicit, little, defer_size=DEFERRED))
            return True
        vr, length = "OW", int.from_bytes(head[4:], order)
        if not implicit:
            vr, length = head[4:6].decode("latin-1"), int.from_bytes(head[6:], order)
            if head[4:6] in LONG_VRS:
                length = int.from_bytes(file.read(4), order)
        header.bulk[tag] = vr, None if length == UNDEFINED else length
        if length != UNDEFINED:
            file.seek(length, io.SEEK_CUR)
        elif not _step_over_items(file, order):
            return False
    return True


def _step_over_items(file: BinaryIO, order: Literal["little", "big"]) -> bool:
    """Step over the fragments of encapsulated pixel data (PS3.5 A.4); False when the file ends before they do."""
    while len(head := file.read(8)) == 8:
        tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
        if tag == SEQUENCE_END:
            return True
        if tag != ITEM:
            return False
        file.seek(int.from_bytes(head[4:], order), io.SEEK_CUR)
    return False


def value_at(header: Header, path: TagPath) -> Value:
    """What the file says of a data element. Absent, empty and unreadable are three different answers."""
    dataset = header.dataset
    for step in path.steps[:-1]:
        items = _element_value(dataset, step.tag)
        if not isinstance(items, pydicom.Sequence) or step.item is None or step.item >= len(items):
            return Value(path, "", State.ABSENT)
        dataset = items[step.item]
    if dataset is header.dataset and path.tag >> 16 == 2:
        dataset = getattr(header.dataset, "file_meta", Dataset())
    if dataset is header.dataset and path.tag in header.bulk:
        vr, length = header.bulk[path.tag]
        size = "compressed frames" if length is None else f"{length:,} bytes"
        return Value(path, vr, State.PRESENT, size)
    if path.tag not in dataset:
        return Value(path, "", State.ABSENT)
    raw = dataset.get_item(path.tag)
    if isinstance(raw, RawDataElement) and (raw.length > DEFERRED or raw.VR in BULK_VRS - {"UN"}):
        return Value(path, raw.VR or "UN", State.PRESENT, f"{raw.length:,} bytes")
    try:
        with quiet():
            element = dataset[path.tag]
            text = _text(element.value, element.VR)
    except Exception:  # noqa: BLE001 (whatever a damaged value raises, the answer is that it cannot be read)
        return Value(path, getattr(raw, "VR", None) or "", State.UNREADABLE)
    return Value(path, element.VR, State.EMPTY if text is None else State.PRESENT, text or "")


def _element_value(dataset: Dataset, tag: int) -> object:
    try:
        with quiet():
            return dataset[tag].value if tag in dataset else None
    except Exception:  # noqa: BLE001 (a damaged sequence has no items to go into)
        return None


def _text(value: object, vr: str) -> str | None:
    """A value as text; None where it is empty."""
    if isinstance(value, pydicom.Sequence):
        return f"{len(value)} {'item' if len(value) == 1 else 'items'}"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes" if value else None
    if value is None or value == "":
        return None
    if isinstance(value, UID):
        name = value.name
        return str(value) if name == value else f"{value} ({name})"
    if isinstance(value, (MultiValue, list)) and vr not in BULK_VRS:
        if not value:
            return None
        shown = "\\".join(str(part) for part in value[:SHOWN_VALUES])
        return shown + (f"\\… ({len(value):,} values)" if len(value) > SHOWN_VALUES else "")
    return str(value)


def person_and_study(header: Header) -> list[Value]:
    """Patient's name, study date and modality."""
    return [value_at(header, TagPath((Step(tag),))) for tag in (PATIENT_NAME, STUDY_DATE, MODALITY)]


def remark_on_character_set(header: Header) -> str | None:
    """One line where the file names a character set that pydicom does not know, so that its names may print wrong."""
    with quiet() as caught:
        pydicom.charset.convert_encodings(cast("Any", header.dataset.get("SpecificCharacterSet")) or [])
    return "its character set is unknown: names may print wrong" if caught else None
