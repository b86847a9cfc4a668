"""Load attributes from DICOM: from a file, a file object, a Dataset, or all files in a folder."""

import io
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.charset import python_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from attributes import ABSENT, Attribute, State, StoredValue
from series import Series

log = logging.getLogger("section2")

Attributes = Mapping[str, Attribute[Any, Any]]
Source = str | Path | BinaryIO | Dataset

IDENTIFYING = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality")
ENCODED_VRS = {"PN", "LO"}  # the attributes whose text depends on the Specific Character Set
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
ESCAPE = re.compile(rb"\x1b(\$\([A-Z]|\$\)[A-Z]|\$[A-Z]|[()\-.][A-Z])")
ESCAPED_ENCODINGS = {  # escape sequence -> Python codec (PS3.3 C.12.1.1.2)
    b"(B": "ascii", b"(J": "shift_jis", b")I": "shift_jis", b"$B": "iso2022_jp_2", b"$(D": "iso2022_jp_2",
    b"$)C": "euc_kr", b"$)A": "gb2312", b"-A": "latin_1", b"-B": "iso8859_2", b"-C": "iso8859_3", b"-D": "iso8859_4",
    b"-L": "iso8859_5", b"-G": "iso8859_6", b"-F": "iso8859_7", b"-H": "iso8859_8", b"-M": "iso8859_9",
    b"-T": "iso8859_11", b"-b": "iso8859_15",
}  # fmt: skip


class DicomError(Exception):
    """A source that has no study; the message is one line with the problem, the path and the advice."""


@dataclass(frozen=True)
class Instance:
    """The attributes of one file."""

    stored: dict[str, StoredValue]
    series_uid: str
    sop_uid: str
    truncated: bool

    def get_value(self, name: str) -> Any:
        """Return the typed value of an attribute; None without one."""
        return self.stored.get(name, ABSENT).value


@dataclass(frozen=True)
class LoadedStudy:
    """The attributes and series of a study."""

    stored: dict[str, StoredValue]
    series: list[Series]
    truncated: bool


def load_study(source: Source, attributes: Attributes) -> LoadedStudy:
    """Load the one study of a source.

    Raises:
        DicomError: The source is not DICOM, or a folder has several studies.
    """
    if isinstance(source, Dataset):
        with _suppress_pydicom_output():
            return _merge_instances("dataset", [_read_attributes(source, attributes, "dataset")], attributes)
    if not isinstance(source, str | Path):
        name = str(getattr(source, "name", "file object"))
        return _merge_instances(name, [_read_file(source, attributes, name)], attributes)
    if not Path(source).is_dir():
        return _merge_instances(str(source), [read_instance(Path(source), attributes)], attributes)
    studies = load_studies(source, attributes)
    if len(studies) > 1:
        uids = ", ".join(study.stored.get("study_instance_uid", ABSENT).text or "no UID" for study in studies)
        raise DicomError(f"{source}: has {len(studies)} studies ({uids}); use list_from_folder")
    return studies[0]


def load_studies(folder: str | Path, attributes: Attributes) -> list[LoadedStudy]:
    """Load every study in a folder and its subfolders.

    Raises:
        DicomError: There is no DICOM file.
    """
    studies: dict[str, list[Instance]] = {}
    for instance in _walk_instances(Path(folder), attributes):
        studies.setdefault(instance.stored.get("study_instance_uid", ABSENT).text, []).append(instance)
    if not studies:
        raise DicomError(f"{folder}: no DICOM file in this folder; choose another")
    return [_merge_instances(str(folder), instances, attributes) for instances in studies.values()]


def _walk_instances(folder: Path, attributes: Attributes) -> Iterator[Instance]:
    """Yield every instance once; other files are logged and skipped."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            try:
                instance = read_instance(Path(parent, name), attributes)
            except DicomError as error:
                log.warning("%s", error)
                continue
            if not instance.sop_uid or instance.sop_uid not in seen:
                seen.add(instance.sop_uid)
                yield instance


def _merge_instances(source: str, instances: list[Instance], attributes: Attributes) -> LoadedStudy:
    """Return the study of the instances, with the attributes of the first; differences are logged."""
    stored = dict(instances[0].stored)
    # The others are attributes of a series or an instance.
    for name in sorted({*attributes} - {"series_number", "number_of_frames", "modality"}):
        if len({instance.stored.get(name, ABSENT).comparison_key for instance in instances}) > 1:
            log.warning("%s: the instances differ in %s; the record has that of the first", source, name)
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(instance.series_uid, []).append(instance)
    series = [
        Series(
            uid,
            members[0].get_value("series_number"),
            members[0].get_value("modality"),
            len(members),
            sum(member.get_value("number_of_frames") or 0 for member in members),
        )
        for uid, members in groups.items()
    ]
    if len(instances) > 1:
        total = sum(one.frames for one in series)
        stored["number_of_frames"] = attributes["number_of_frames"].validate(total or None)
    return LoadedStudy(stored, series, any(instance.truncated for instance in instances))


def read_instance(path: Path, attributes: Attributes) -> Instance:
    """Read the attributes of one file.

    Raises:
        DicomError: The file cannot be read or is not DICOM.
    """
    if not path.is_file():
        problem = "not a regular file" if path.exists() else "no such file"
        raise DicomError(f"{path}: {problem}; check the path")
    try:
        with path.open("rb") as file:
            return _read_file(file, attributes, str(path))
    except OSError as error:
        raise DicomError(f"{path}: {error.strerror}; check its permissions") from error


def _read_file(file: BinaryIO, attributes: Attributes, name: str) -> Instance:
    if not file.seekable():
        file = io.BytesIO(file.read())
    start = file.tell()
    has_preamble = file.read(132)[128:] == b"DICM"
    size = file.seek(0, io.SEEK_END)
    file.seek(start)
    with _suppress_pydicom_output() as caught:
        try:
            dataset, truncated = _read_dataset(file, caught)
        except Exception as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise DicomError(f"{name}: not a DICOM file, or a damaged one; check the file") from error
        if truncated and has_preamble and not len(dataset):
            raise DicomError(f"{name}: a truncated DICOM file; get a complete copy")
        # pydicom finds elements in any bytes: without a preamble, require an element of every composite instance.
        if not any(keyword in dataset for keyword in IDENTIFYING) and not (has_preamble and len(dataset)):
            raise DicomError(f"{name}: not a DICOM file; check the file")
        if "DirectoryRecordSequence" in dataset:
            raise DicomError(f"{name}: a DICOMDIR, which lists files of studies; choose one of these or their folder")
        truncated = truncated or _ends_early(dataset, file, size) or _lacks_required_elements(dataset)
        return _read_attributes(dataset, attributes, name, truncated=truncated)


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
    if getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return False  # positions are those of the inflated data
    return last.value_tell + last.length > size or 0 < size - last.value_tell - last.length < 8


def _lacks_required_elements(dataset: Dataset) -> bool:
    """Return whether elements are missing that every object of its kind has: the file ends after another element."""
    last = max(dataset.keys())
    meta = getattr(dataset, "file_meta", Dataset())
    stated = meta.get("MediaStorageSOPClassUID") if "FileMetaInformationGroupLength" in meta else ""  # else a stub
    name = UID(str(dataset.get("SOPClassUID") or stated or "")).name
    if last < STUDY_UID and "Storage" in name:
        return True
    # Every image has a manufacturer, maybe an empty one; made-up headers without pixels lack it.
    is_image = "SamplesPerPixel" in dataset or ("Image Storage" in name and "Manufacturer" in dataset)
    if is_image and last.group not in RADIOTHERAPY_GROUPS and not any(tag in dataset for tag in PIXELS):
        return True
    return any(last < tag for word, tag in REQUIRED.items() if word in name)


def _read_attributes(dataset: Dataset, attributes: Attributes, source: str, *, truncated: bool = False) -> Instance:
    def report(name: str, rule: str) -> None:
        log.warning("%s: %s is invalid and preserved as it is: it is not %s", source, name, rule)

    texts = {name: _read_text(dataset, attribute) for name, attribute in attributes.items()}
    stored = {name: attributes[name].parse_lenient(text, report) for name, text in texts.items() if text is not None}
    is_image = "Rows" in dataset and "Columns" in dataset
    if is_image and stored.get("number_of_frames", ABSENT).state in (State.ABSENT, State.EMPTY):
        stored["number_of_frames"] = attributes["number_of_frames"].validate(1)  # the default of PS3.3 C.7.6.6
    series_uid, sop_uid = (str(dataset.get(keyword) or "") for keyword in ("SeriesInstanceUID", "SOPInstanceUID"))
    return Instance(stored, series_uid, sop_uid, truncated)


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


def _read_text(dataset: Dataset, attribute: Attribute[Any, Any]) -> str | None:
    """Return an element's value as text, before pydicom converts it; None if the element is absent."""
    if attribute.tag not in dataset:
        return None
    raw = dataset.get_item(attribute.tag, keep_deferred=True)
    if isinstance(raw, RawDataElement) and (raw.VR is None or raw.VR in TEXT_VRS):
        if raw.value is None and raw.length:
            return "\\" * 65  # a deferred value of over 64 KiB is invalid for every attribute
        if attribute.representation.vr in ENCODED_VRS:
            charsets = dataset.get("SpecificCharacterSet") or ""
            return decode_text(raw.value or b"", [charsets] if isinstance(charsets, str) else charsets)
        return (raw.value or b"").decode("latin-1")
    try:
        value = dataset[attribute.tag].value
    except Exception:  # noqa: BLE001 (pydicom raises many types for damaged values)
        return (getattr(raw, "value", b"") or b"").decode("latin-1")
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    return "" if value is None else str(value)


def decode_text(value: bytes, charsets: Sequence[str]) -> str:
    r"""Decode bytes by their Specific Character Set (PS3.3 C.12.1.1.2), with its escape sequences.

    pydicom splits a value at `^`, `=` and `\` before it decodes, and these bytes are also halves of characters of
    GB 18030 and JIS X 0208. Undecodable bytes become `\xNN`; the backslash makes the value invalid.
    """
    first = charsets[0].strip() if charsets else ""
    encoding = "ascii" if first in ("", "ISO_IR 6", "ISO 2022 IR 6") else python_encoding.get(first, "ascii")
    if encoding in ("iso2022_jp", "iso_ir_58", "iso2022_jp_2"):  # G0 or G1 is designated by an escape sequence
        encoding = "ascii"
    head, *parts = ESCAPE.split(value)
    text = head.decode(encoding, "backslashreplace")
    for escape, segment in zip(parts[::2], parts[1::2], strict=True):
        codec = ESCAPED_ENCODINGS.get(escape, "ascii")
        prefix = b"\x1b" + escape if codec == "iso2022_jp_2" else b""
        text += (prefix + segment).decode(codec, "backslashreplace")
    return text
