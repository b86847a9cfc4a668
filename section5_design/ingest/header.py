"""Read and check an instance's header: structure, bounds, and the identifiers that the archive depends on.

Pixels are never decoded here.
"""

import re
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO

from pydicom.datadict import tag_for_keyword

from ingest.scanner import ScanError, scan

UID_RULE = re.compile(r"[0-9]+(\.[0-9]+)*\Z")  # PS3.5, 9.1; leading zeros occur in real archives and are harmless
MAX_UID_LENGTH, MAX_TEXT_LENGTH = 64, 64
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
EXECUTABLES = (b"MZ", b"\x7fELF", b"#!", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
IDENTIFIERS = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName")
DESCRIPTION = ("SpecificCharacterSet", "StudyDate", "Modality")
SIZE = ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated")
WANTED = [tag_for_keyword(keyword) or 0 for keyword in (*IDENTIFIERS, *DESCRIPTION, *SIZE, *PIXELS)]


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


def read_header(file: BinaryIO, size: int) -> Header:
    """Read the header of a DICOM file of this size in bytes, in bounded memory and time.

    Raises:
        RefusedError: not a DICOM file (PS3.10, 7.1), truncated, or without an identifier (PS3.3, C.7 and C.12).

    """
    start = file.read(132)
    if start[128:] != b"DICM":
        raise RefusedError("not a DICOM file (no DICM prefix at byte 128)")
    if start.startswith(EXECUTABLES):  # a TIFF preamble is allowed (PS3.10, 7.1)
        raise RefusedError("its preamble is executable (CVE-2019-11687)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values are stored as received
            return build_header(*scan(file, size, WANTED))
    except ScanError as error:
        raise RefusedError(str(error)) from None
    except RefusedError:
        raise
    except Exception as error:  # noqa: BLE001  # pydicom raises all kinds of errors on malformed values
        raise RefusedError(f"cannot be read as DICOM ({type(error).__name__})") from None


def build_header(dataset: Any, transfer_syntax: str) -> Header:
    """Build the header from a data set, or from a mapping of keywords to values.

    Raises:
        RefusedError: an identifier is missing or invalid.

    """
    return Header(
        sop_instance_uid=require_uid(dataset, "SOPInstanceUID"),
        sop_class_uid=require_uid(dataset, "SOPClassUID"),
        transfer_syntax_uid=clean_text(transfer_syntax, MAX_UID_LENGTH),
        study_uid=require_uid(dataset, "StudyInstanceUID"),
        series_uid=require_uid(dataset, "SeriesInstanceUID"),
        patient_id=clean_text(dataset.get("PatientID"), MAX_TEXT_LENGTH),
        patient_name=clean_text(dataset.get("PatientName"), 324),
        study_date=clean_text(dataset.get("StudyDate"), 8),
        modality=clean_text(dataset.get("Modality"), 16),
        decoded_size=compute_decoded_size(dataset),
    )


def require_uid(dataset: Any, keyword: str) -> str:
    """Return a required UID."""
    found = clean_text(dataset.get(keyword), MAX_UID_LENGTH + 1)
    if not found:
        raise RefusedError(f"has no {keyword}")
    if len(found) > MAX_UID_LENGTH or not UID_RULE.match(found):
        raise RefusedError(f"invalid {keyword}: not a UID")
    return found


def clean_text(value: Any, longest: int) -> str:
    """Return a value as text that PostgreSQL accepts, cut to a length."""
    return "" if value is None else str(value).replace("\0", "").encode("utf-8", "replace").decode()[:longest].strip()


def compute_decoded_size(dataset: Any) -> int:
    """Return the size of the decoded pixels in bytes, by the header; 0 without pixels."""
    if not any(keyword in dataset for keyword in PIXELS):
        return 0
    bits = parse_int(dataset.get("BitsAllocated"), 8)
    samples, frames = parse_int(dataset.get("SamplesPerPixel"), 1), parse_int(dataset.get("NumberOfFrames"), 1)
    size = parse_int(dataset.get("Rows"), 0) * parse_int(dataset.get("Columns"), 0) * samples * frames * bits // 8
    return min(size, 2**62)


def parse_int(value: Any, default: int) -> int:
    """Return a non-negative integer, or a default."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        return default
    return number if number >= 0 else default
