"""Read the data sets of DICOM files, detect truncated files, and get text before pydicom converts it."""

import io
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydicom import config
from pydicom.charset import CODES_TO_ENCODINGS, decode_bytes, default_encoding, handled_encodings, python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

log = logging.getLogger("section2")

Source = str | Path | BinaryIO | Dataset

IDENTIFYING = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality")
ENCODED_VRS = {"LO", "PN"}  # the attributes whose text depends on the Specific Character Set
TEXT_VRS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UN", "UT"}
STUDY_UID, LAST_TAG = 0x0020000D, 0x00280011  # Columns: no attribute comes later
PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009, 0x00287FE0)  # or the URL of their provider
RADIOTHERAPY_GROUPS = range(0x3000, 0x3010)  # plans, which may describe images without pixels
REQUIRED = {  # words of SOP class names -> an element near the end that the class requires (PS3.3 annex A)
    "Waveform": 0x54000100, "Encapsulated": 0x00420011, "Structure Set": 0x30060080, " SR": 0x0040A493,
    "RT Plan": 0x300A000C, "RT Dose": 0x7FE00010,
}  # fmt: skip
UNDEFINED_LENGTH, SEQUENCE_DELIMITER = 0xFFFFFFFF, b"\xfe\xff\xdd\xe0"
DEFER_SIZE = 1 << 16  # values above this number of bytes stay in the file
ESCAPE_SEQUENCE = re.compile(r"\x1b[$()\-.]+[A-Z]")
NOT_ASCII = re.compile(rb"\x1b\(B[^\x1b]*[\x80-\xff]")


class DicomError(Exception):
    """A source that has no study; the message is one line with the problem, the path and the advice."""


class Instance(NamedTuple):
    """The data set of one file."""

    dataset: Dataset
    source: str
    truncated: bool = False


def iter_instances(folder: Path) -> Iterator[Instance]:
    """Yield every instance in a folder and its subfolders once; other files are logged and skipped."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            try:
                instance = read_instance(Path(parent, name))
            except DicomError as error:
                log.warning("%s", error)
                continue
            uid = get_uid(instance.dataset, "SOPInstanceUID")
            if not uid or uid not in seen:
                seen.add(uid)
                yield instance


def read_instance(source: Source) -> Instance:
    """Read one data set from a path or a binary file object; a Dataset is returned as it is.

    Raises:
        DicomError: The file cannot be read or is not DICOM.
    """
    if isinstance(source, Dataset):
        return Instance(source, "dataset")
    if not isinstance(source, str | Path):
        return _read_file(source, str(getattr(source, "name", "file object")))
    path = Path(source)
    if not path.is_file():
        problem = "not a regular file" if path.exists() else "no such file"
        raise DicomError(f"{path}: {problem}; check the path")
    try:
        with path.open("rb") as file:
            return _read_file(file, str(path))
    except OSError as error:
        raise DicomError(f"{path}: {error.strerror}; check its permissions") from error


def _read_file(file: BinaryIO, name: str) -> Instance:
    if not file.seekable():
        file = io.BytesIO(file.read())
    start = file.tell()
    has_preamble = file.read(132)[128:] == b"DICM"
    size = file.seek(0, io.SEEK_END)
    file.seek(start)
    with _suppress_pydicom_output() as caught:
        try:
            dataset, truncated = _read_dataset(file, caught)
        except OSError:
            raise
        except Exception as error:
            raise DicomError(f"{name}: not a DICOM file, or a damaged one; check the file") from error
        if truncated and has_preamble and not len(dataset):
            raise DicomError(f"{name}: a truncated DICOM file; get a complete copy")
        # pydicom finds elements in any bytes: without a preamble, require an element of every composite instance.
        if not any(keyword in dataset for keyword in IDENTIFYING) and not (has_preamble and len(dataset)):
            raise DicomError(f"{name}: not a DICOM file; check the file")
        if "DirectoryRecordSequence" in dataset:
            raise DicomError(f"{name}: a DICOMDIR, which lists files of studies; choose one of these or their folder")
        truncated = truncated or _ends_early(dataset, file, size) or _lacks_required_elements(dataset)
    if truncated:
        log.warning("%s: the file is truncated or lacks required elements; attributes may be missing", name)
    return Instance(dataset, name, truncated)


def _read_dataset(file: BinaryIO, caught: list[warnings.WarningMessage]) -> tuple[Dataset, bool]:
    """Return the elements, and whether the file ended before the end of one.

    pydicom drops all elements when a file ends inside of a sequence or of compressed pixels, and warns or raises an
    OSError without errno; those before LAST_TAG are then read alone.
    """
    start, truncated = file.tell(), False
    for stop_when in (None, lambda tag, _vr, _length: tag > LAST_TAG):
        file.seek(start)
        try:
            dataset: Dataset = read_partial(file, stop_when, DEFER_SIZE, force=True)
        except OSError as error:
            if error.errno:
                raise
            dataset, truncated = Dataset(), True
        truncated = truncated or any(" in file " in str(warning.message) for warning in caught)
        if len(dataset) or not truncated:
            break
    return dataset, truncated


def _ends_early(dataset: Dataset, file: BinaryIO, size: int) -> bool:
    """Return whether the last element continues after the end of the file, or is followed by an incomplete one."""
    last = dataset.get_item(max(dataset.keys()), keep_deferred=True)
    is_undefined = getattr(last, "is_undefined_length", getattr(last, "length", 0) == UNDEFINED_LENGTH)
    if last.tag == PIXELS[0] and is_undefined:
        file.seek(max(size - 1024, 0))
        return not file.read().rstrip(b"\0").endswith(SEQUENCE_DELIMITER)  # its length is 0; padding may follow
    if not isinstance(last, RawDataElement) or is_undefined:
        return False
    if last.value is not None and len(last.value) < last.length:
        return True
    if get_uid(dataset.file_meta, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return False  # positions are those of the inflated data
    return last.value_tell + last.length > size or 0 < size - last.value_tell - last.length < 8


def _lacks_required_elements(dataset: Dataset) -> bool:
    """Return whether elements are missing that every object of its kind has: the file ends after another element."""
    last = max(dataset.keys())
    is_stub = "FileMetaInformationGroupLength" not in dataset.file_meta
    stated = "" if is_stub else get_uid(dataset.file_meta, "MediaStorageSOPClassUID")
    name = UID(get_uid(dataset, "SOPClassUID") or stated).name
    if last < STUDY_UID and "Storage" in name:
        return True
    # Every image has a manufacturer, maybe an empty one; made-up headers without pixels lack it.
    is_image = "SamplesPerPixel" in dataset or ("Image Storage" in name and "Manufacturer" in dataset)
    if is_image and last.group not in RADIOTHERAPY_GROUPS and not any(tag in dataset for tag in PIXELS):
        return True
    return any(last < tag for word, tag in REQUIRED.items() if word in name)


@contextmanager
def _suppress_pydicom_output() -> Iterator[list[warnings.WarningMessage]]:
    """Silence pydicom, whose messages quote patient data; yield its warnings."""
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    finally:
        logger.disabled = before


def get_text(dataset: Dataset, keyword: str) -> str | None:
    """Return an element's value as text, before pydicom converts it; None if the element is absent."""
    if keyword not in dataset:
        return None
    raw = dataset.get_item(keyword, keep_deferred=True)
    if isinstance(raw, RawDataElement) and (raw.VR is None or raw.VR in TEXT_VRS):
        if raw.value is None and raw.length:
            return "\\" * 65  # a deferred value of over 64 KiB is invalid for every attribute
        if dictionary_VR(raw.tag) in ENCODED_VRS:
            return decode_text(raw.value or b"", get_text(dataset, "SpecificCharacterSet") or "")
        return (raw.value or b"").decode("latin-1")
    with _suppress_pydicom_output():
        try:
            value = dataset[keyword].value
        except Exception:  # noqa: BLE001 (pydicom raises many types for damaged values)
            return (getattr(raw, "value", b"") or b"").decode("latin-1")
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    return "" if value is None else str(value)


def get_uid(dataset: Dataset, keyword: str) -> str:
    """Return a UID without its padding, or an empty string."""
    return (get_text(dataset, keyword) or "").strip(" \0")


def decode_text(value: bytes, character_set: str) -> str:
    r"""Decode a value by its Specific Character Set (PS3.3 C.12.1.1.2), with its escape sequences.

    pydicom splits a value at `^`, `=` and `\` before it decodes, and these bytes are also halves of characters of
    GB 18030 and JIS X 0208. Undecodable bytes become `\xNN`; the backslash makes the value invalid.
    """
    encoding = python_encoding.get(character_set.split("\\")[0].strip(), "ascii")
    if encoding in (default_encoding, *handled_encodings):  # ASCII until the first escape sequence
        encoding = "ascii"
    try:
        if NOT_ASCII.search(value):  # pydicom decodes these as Latin-1
            raise ValueError
        with config.strict_reading():
            text = decode_bytes(value, [encoding, *CODES_TO_ENCODINGS.values()], set())
    except ValueError:
        return value.decode(encoding, "backslashreplace").replace("\x1b", "\\x1b")
    return ESCAPE_SEQUENCE.sub("", text)  # pydicom leaves those of GB 2312
