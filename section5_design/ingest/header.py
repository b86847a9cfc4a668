"""Read and check an instance's header: structure, bounds, and the identifiers that the archive depends on.

Pixels are never decoded here.
"""

import re
from dataclasses import dataclass
from typing import Any

from ingest.header_scanner import HeaderScanner, ScanError

UID_RULE = re.compile(r"[0-9]+(\.[0-9]+)*\Z")  # PS3.5, 9.1; leading zeros occur in real archives and are harmless
MAX_UID_LENGTH, MAX_TEXT_LENGTH = 64, 64
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


class RefusedError(Exception):
    """The file is refused; the message says why, without patient data."""


@dataclass(frozen=True)
class Header:
    """The attributes that the archive stores."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_uid: str
    series_uid: str
    patient_id: str
    patient_name: str
    study_date: str
    modality: str
    decoded_size: int


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
        patient_id=clean_text(attributes.get("PatientID"), MAX_TEXT_LENGTH),
        patient_name=clean_text(attributes.get("PatientName"), 324),
        study_date=clean_text(attributes.get("StudyDate"), 8),
        modality=clean_text(attributes.get("Modality"), 16),
        decoded_size=compute_decoded_size(attributes),
    )


def require_uid(attributes: dict[str, Any], keyword: str) -> str:
    """Return a required UID."""
    found = clean_text(attributes.get(keyword), MAX_UID_LENGTH + 1)
    if not found:
        raise RefusedError(f"has no {keyword}")
    if len(found) > MAX_UID_LENGTH or not UID_RULE.match(found):
        raise RefusedError(f"invalid {keyword}: not a UID")
    return found


def clean_text(value: Any, longest: int) -> str:
    """Return a value as text that PostgreSQL accepts, cut to a length."""
    return "" if value is None else str(value).replace("\0", "").encode("utf-8", "replace").decode()[:longest].strip()


def compute_decoded_size(attributes: dict[str, Any]) -> int:
    """Return the size of the decoded pixels in bytes, by the header; 0 without pixels."""
    if not any(keyword in attributes for keyword in PIXELS):
        return 0
    bits = parse_int(attributes.get("BitsAllocated"), 8)
    samples, frames = parse_int(attributes.get("SamplesPerPixel"), 1), parse_int(attributes.get("NumberOfFrames"), 1)
    size = parse_int(attributes.get("Rows"), 0) * parse_int(attributes.get("Columns"), 0) * samples * frames * bits // 8
    return min(size, 2**62)


def parse_int(value: Any, default: int) -> int:
    """Return a non-negative integer, or a default."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        return default
    return number if number >= 0 else default
