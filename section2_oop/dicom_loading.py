"""Attributes out of DICOM files: of one file, or of all files of a study in a folder."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.multival import MultiValue

from attributes import Attribute, Field, State
from study_record import Series

log = logging.getLogger("section2")

IDENTIFYING = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality")
ASCII_VRS = {"AS", "CS", "DA", "DS", "IS", "TM", "UI"}  # read from their bytes: pydicom would change some on the way
LARGE = 1 << 16  # bytes of a value that is left in the file


class DicomError(Exception):
    """A path that holds no study: one line that says what is wrong, where, and what to do."""


@dataclass(frozen=True)
class Instance:
    """What one file says."""

    path: Path
    fields: dict[str, Field]
    series_uid: str
    sop_uid: str


def load(path: Path, attributes: Mapping[str, Attribute[Any]]) -> tuple[dict[str, Field], list[Series]]:
    """Fields and series of a file or a folder.

    Raises:
        DicomError: there is no DICOM, or there are several studies.

    """
    if not path.is_dir():
        instances = [read_instance(path, attributes)]
    else:
        instances = list(_instances_below(path, attributes))
        if not instances:
            raise DicomError(f"{path}: no DICOM file in this folder; name another")
        studies = {instance.fields.get("study_instance_uid", Field(State.ABSENT)).text for instance in instances}
        if len(studies) > 1:
            raise DicomError(f"{path}: holds {len(studies)} studies; name the folder of one of them")
        _report_differences(path, instances)
    fields = dict(instances[0].fields)
    series = _series_of(instances)
    if len(instances) > 1:
        attribute = attributes["number_of_frames"]
        total = sum(one.frames for one in series)
        fields["number_of_frames"] = attribute.checked(total) if total else Field(State.ABSENT)
    return fields, series


def _instances_below(folder: Path, attributes: Mapping[str, Attribute[Any]]) -> Iterator[Instance]:
    """Every instance once; what is no DICOM file is logged and left out."""
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


def read_instance(path: Path, attributes: Mapping[str, Attribute[Any]]) -> Instance:
    """Read one file's header.

    Raises:
        DicomError: it cannot be read or is not DICOM.

    """
    with _quiet():
        dataset = _header(path)
        fields = {}
        for name, attribute in attributes.items():
            text = _text_of(dataset, attribute)
            if text is not None:
                fields[name] = attribute.as_it_stands(text, lambda name, rule: _report(path, name, rule))
        is_image = "Rows" in dataset and "Columns" in dataset
        if is_image and fields.get("number_of_frames", Field(State.ABSENT)).state in (State.ABSENT, State.EMPTY):
            fields["number_of_frames"] = attributes["number_of_frames"].checked(1)  # PS3.3 C.7.6.6: one, unless said
        series_uid, sop_uid = (str(dataset.get(keyword, "")) for keyword in ("SeriesInstanceUID", "SOPInstanceUID"))
    return Instance(path, fields, series_uid, sop_uid)


def _report(path: Path, name: str, rule: str) -> None:
    log.warning("%s: %s is kept as it stands: it is not %s", path, name, rule)


def _header(path: Path) -> FileDataset:
    try:
        if not path.is_file():
            raise DicomError(f"{path}: no such file; check the path" if not path.exists() else f"{path}: is not a file")
        with path.open("rb") as file:
            has_preamble = file.read(132)[128:] == b"DICM"
        dataset = pydicom.dcmread(path, LARGE, stop_before_pixels=True, force=True)
    except DicomError:
        raise
    except PermissionError as error:
        raise DicomError(f"{path}: may not be read; check its permissions") from error
    except Exception as error:
        raise DicomError(f"{path}: not a DICOM file, or a damaged one; check that it is the right file") from error
    # pydicom finds elements in any bytes: without a preamble, ask for one that every composite instance has.
    if not any(keyword in dataset for keyword in IDENTIFYING) and not (has_preamble and len(dataset)):
        raise DicomError(f"{path}: not a DICOM file; check that it is the right file")
    return dataset


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence pydicom: its messages quote values, which may name patients."""
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def _text_of(dataset: FileDataset, attribute: Attribute[Any]) -> str | None:
    """An element's value as text, before pydicom's own idea of it; None where the file lacks it."""
    if attribute.tag not in dataset:
        return None
    raw = dataset.get_item(attribute.tag)
    vr = attribute.representation.vr
    if isinstance(raw, RawDataElement) and vr in ASCII_VRS and raw.VR in (None, vr):
        return (raw.value or b"").decode("latin-1")
    try:
        value = dataset[attribute.tag].value
    except Exception:  # noqa: BLE001 (whatever a damaged value raises, its bytes still are what stands there)
        return (getattr(raw, "value", b"") or b"").decode("latin-1")
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return "" if value is None else str(value)


def _report_differences(folder: Path, instances: list[Instance]) -> None:
    """Say where the instances of a study contradict each other; the record shows the first one's."""
    for name in instances[0].fields.keys() | {name for instance in instances for name in instance.fields}:
        if name in ("series_number", "number_of_frames", "modality"):
            continue  # these belong to a series or an instance
        if len({_comparable(instance.fields.get(name)) for instance in instances}) > 1:
            log.warning("%s: its instances differ in %s; the record shows that of the first", folder, name)


def _comparable(field: Field | None) -> object:
    return None if field is None else field.value if field.state is State.PRESENT else field.text


def _series_of(instances: list[Instance]) -> list[Series]:
    found: dict[str, list[Instance]] = {}
    for instance in instances:
        found.setdefault(instance.series_uid, []).append(instance)
    return [
        Series(
            uid,
            _value(members[0], "series_number"),
            _value(members[0], "modality"),
            len(members),
            sum(_value(member, "number_of_frames") or 0 for member in members),
        )
        for uid, members in found.items()
    ]


def _value(instance: Instance, name: str) -> Any:
    return instance.fields.get(name, Field(State.ABSENT)).value
