"""Read and check an instance's header: structure, bounds, and the identifiers that the archive depends on.

Pixels are never decoded here.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.filereader import read_sequence

from ingest.header_scanner import EncodedSequence, HeaderScanner, ScanError

TRAILING_DELIMITERS = re.compile(r"\^+(?==|$)")
UID_RULE = re.compile(r"[0-9]+(\.[0-9]+)*\Z")  # PS3.5, 9.1; leading zeros occur in real archives and are harmless
MAX_UID_LENGTH = 64
# The archive's columns of a study, a series and an instance: keyword, and the length of its VR (PS3.5, 6.2).
STUDY_TEXTS = {
    "patient_id": ("PatientID", 64),
    "patient_name": ("PatientName", 324),
    "patient_birth_date": ("PatientBirthDate", 8),
    "patient_sex": ("PatientSex", 16),
    "study_date": ("StudyDate", 8),
    "study_time": ("StudyTime", 14),
    "timezone_offset_from_utc": ("TimezoneOffsetFromUTC", 5),
    "accession_number": ("AccessionNumber", 16),
    "study_id": ("StudyID", 16),
    "study_description": ("StudyDescription", 64),
    "referring_physician_name": ("ReferringPhysicianName", 324),
}
SERIES_TEXTS = {
    "modality": ("Modality", 16),
    "series_description": ("SeriesDescription", 64),
    "body_part_examined": ("BodyPartExamined", 16),
    "performed_procedure_step_start_date": ("PerformedProcedureStepStartDate", 8),
    "performed_procedure_step_start_time": ("PerformedProcedureStepStartTime", 14),
}
INSTANCE_NUMBERS = {
    "instance_number": "InstanceNumber",
    "number_of_frames": "NumberOfFrames",
    "rows": "Rows",
    "columns": "Columns",
    "bits_allocated": "BitsAllocated",
}
REQUEST_IDS = ("ScheduledProcedureStepID", "RequestedProcedureID")  # kept of each request that a series belongs to
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


class RefusedError(Exception):
    """The file is refused; the message says why, without patient data.

    Attributes:
        sop_class_uid: of the instance; empty if it could not be read.
        sop_instance_uid: likewise.

    """

    def __init__(self, reason: str, sop_class_uid: str = "", sop_instance_uid: str = "") -> None:
        super().__init__(reason)
        self.sop_class_uid, self.sop_instance_uid = sop_class_uid, sop_instance_uid


@dataclass(frozen=True)
class Header:
    """The attributes that the archive stores."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_uid: str
    series_uid: str
    decoded_size: int
    study: dict[str, str] = field(default_factory=dict)  # values of the study's columns
    series: dict[str, str | int | None] = field(default_factory=dict)
    numbers: dict[str, int | None] = field(default_factory=dict)  # values of the instance's columns
    # Decodes the request attributes, which only a new series needs.
    requests: Callable[[], list[dict[str, str]]] = field(default=list, compare=False)


def read_header(scanner: HeaderScanner) -> Header:
    """Read the header of a file that was scanned completely.

    Raises:
        RefusedError: not a DICOM file (PS3.10, 7.1), truncated, or without an identifier (PS3.3, C.7 and C.12).

    """
    try:
        return build_header(scanner.finish())
    except ScanError as error:
        raise RefusedError(str(error)) from None
    except RefusedError:
        raise
    except Exception as error:  # noqa: BLE001  # pydicom raises all kinds of errors on malformed values
        raise RefusedError(f"cannot be read as DICOM ({type(error).__name__})") from None


def build_header(attributes: dict[str, Any]) -> Header:
    """Build the header from attributes by keyword.

    Raises:
        RefusedError: an identifier is missing or invalid.

    """
    return Header(
        sop_instance_uid=require_uid(attributes, "SOPInstanceUID"),
        sop_class_uid=require_uid(attributes, "SOPClassUID"),
        transfer_syntax_uid=clean_text(attributes.get("TransferSyntaxUID"), MAX_UID_LENGTH),
        study_uid=require_uid(attributes, "StudyInstanceUID"),
        series_uid=require_uid(attributes, "SeriesInstanceUID"),
        study=build_texts(attributes, STUDY_TEXTS),
        series=build_texts(attributes, SERIES_TEXTS) | {"series_number": parse_integer(attributes.get("SeriesNumber"))},
        numbers={name: parse_integer(attributes.get(keyword)) for name, keyword in INSTANCE_NUMBERS.items()},
        decoded_size=compute_decoded_size(attributes),
        requests=partial(decode_requests, attributes.get("RequestAttributesSequence"), attributes),
    )


def decode_requests(sequence: EncodedSequence | None, attributes: dict[str, Any]) -> list[dict[str, str]]:
    """Return the IDs in the items of the request attributes, by keyword; none if the sequence is malformed."""
    if sequence is None:
        return []
    content = io.BytesIO(sequence.content)
    try:
        encodings = convert_encodings(attributes.get("SpecificCharacterSet"))
        items = read_sequence(content, sequence.is_implicit, sequence.is_little, sequence.length, encodings)
        found = [{name: clean_text(item.get(name), 16) for name in REQUEST_IDS} for item in items]
    except Exception:  # noqa: BLE001  # pydicom raises all kinds of errors on malformed values
        return []
    return [{name: text for name, text in item.items() if text} for item in found]


def build_texts(attributes: dict[str, Any], columns: dict[str, tuple[str, int]]) -> dict[str, Any]:
    """Return the values of columns; dates and times without the separators of ACR-NEMA 2.0."""
    texts = {}
    for name, (keyword, size) in columns.items():
        value = attributes.get(keyword)
        if value is not None and keyword.endswith(("Date", "Time")):
            value = str(value).replace("." if keyword.endswith("Date") else ":", "")
        texts[name] = clean_text(value, size)
        if keyword.endswith("Name"):
            texts[name] = strip_delimiters(texts[name])
    return texts


def strip_delimiters(name: str) -> str:
    """Return a person's name without the delimiters at the end of its component groups, which mean nothing.

    See PS3.5, 6.2.1.1.
    """
    return TRAILING_DELIMITERS.sub("", name).rstrip("=")


def require_uid(attributes: dict[str, Any], keyword: str) -> str:
    """Return a required UID."""
    if found := find_uid(attributes, keyword):
        return found
    reason = f"invalid {keyword}: not a UID" if clean_text(attributes.get(keyword), 1) else f"has no {keyword}"
    raise RefusedError(reason, find_uid(attributes, "SOPClassUID"), find_uid(attributes, "SOPInstanceUID"))


def find_uid(attributes: dict[str, Any], keyword: str) -> str:
    """Return a UID; empty if it is missing or invalid."""
    found = clean_text(attributes.get(keyword), MAX_UID_LENGTH + 1)
    return found if is_uid(found) else ""


def is_uid(text: str) -> bool:
    """Return whether a text is a UID."""
    return len(text) <= MAX_UID_LENGTH and bool(UID_RULE.match(text))


def clean_text(value: Any, longest: int) -> str:
    """Return a value as text that PostgreSQL accepts, cut to a length."""
    return "" if value is None else str(value).replace("\0", "").encode("utf-8", "replace").decode()[:longest].strip()


def compute_decoded_size(attributes: dict[str, Any]) -> int:
    """Return the size of the decoded pixels in bytes, by the header; 0 without pixels."""
    if not any(keyword in attributes for keyword in PIXELS):
        return 0
    bits, samples = parse_count(attributes.get("BitsAllocated"), 8), parse_count(attributes.get("SamplesPerPixel"), 1)
    frames = parse_count(attributes.get("NumberOfFrames"), 1)
    rows, columns = parse_count(attributes.get("Rows"), 0), parse_count(attributes.get("Columns"), 0)
    return min(rows * columns * samples * frames * bits // 8, 2**62)


def parse_count(value: Any, default: int) -> int:
    """Return a non-negative integer, or a default."""
    number = parse_integer(value)
    return default if number is None or number < 0 else number


def parse_integer(value: Any) -> int | None:
    """Return an integer of 32 bits (PS3.5, 6.2: IS, US), or None if there is none."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 2**31 else None
