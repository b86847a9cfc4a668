"""Read and check an instance's header: structure, bounds, and the identifiers that the archive depends on.

Pixels are never decoded here.
"""

import re
import warnings
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

UID_RULE = re.compile(r"[0-9]+(\.[0-9]+)*\Z")  # PS3.5, 9.1; leading zeros occur in real archives and are harmless
MAX_UID_LENGTH = 64
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
UNDEFINED = 0xFFFFFFFF
EXECUTABLES = (b"MZ", b"\x7fELF", b"#!", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
DEFLATED = b"1.2.840.10008.1.2.1.99"
MAX_INFLATED_BYTES = 256 << 20  # bytes: pydicom holds them in memory
MAX_RATIO = 200
CHUNK = 1 << 20
MAX_TEXT_LENGTH = 64


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
    """Read the header of a DICOM file of this size in bytes.

    Raises:
        RefusedError: not a DICOM file (PS3.10, 7.1), truncated, or without an identifier (PS3.3, C.7 and C.12).

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values are stored as received
            check_start(file, size)
            dataset = pydicom.dcmread(file, defer_size=1024, stop_before_pixels=False)
            check_bounds(dataset, size)
            return build_header(dataset)
    except InvalidDicomError:
        raise RefusedError("not a DICOM file (no DICM prefix at byte 128)") from None
    except RefusedError:
        raise
    except Exception as error:  # noqa: BLE001  # pydicom raises whatever broken bytes lead to
        raise RefusedError(f"cannot be read as DICOM ({type(error).__name__})") from None


def check_start(file: BinaryIO, size: int) -> None:
    """Refuse executable preambles and decompression bombs before parsing.

    Raises:
        RefusedError: it is one of these. A TIFF preamble is allowed (PS3.10, 7.1).

    """
    start = file.read(2048)
    file.seek(0)
    if start.startswith(EXECUTABLES) and start[128:132] == b"DICM":
        raise RefusedError("its preamble is executable (CVE-2019-11687)")
    if DEFLATED not in start or start[132:138] != b"\x02\x00\x00\x00UL":
        return
    begins = 144 + int.from_bytes(start[140:144], "little")  # after the file meta information (PS3.10, 7.1)
    inflater, grown, most = zlib.decompressobj(-zlib.MAX_WBITS), 0, min(MAX_INFLATED_BYTES, (size + 5000) * MAX_RATIO)
    file.seek(begins)
    part = file.read(CHUNK)
    while part and not inflater.eof:
        grown += len(inflater.decompress(part, CHUNK))
        if grown > most:
            raise RefusedError(f"its deflated elements inflate to more than {most >> 20} MB")
        part = inflater.unconsumed_tail or file.read(CHUNK)
    file.seek(0)


def build_header(dataset: Any) -> Header:
    """Build the header from a data set, or from scanned attributes with `get` and `in`.

    Raises:
        RefusedError: an identifier is missing or invalid.

    """
    meta = getattr(dataset, "file_meta", None)
    syntax = clean_text(meta.get("TransferSyntaxUID") if meta is not None else None, MAX_UID_LENGTH)
    return Header(
        sop_instance_uid=require_uid(dataset, "SOPInstanceUID"),
        sop_class_uid=require_uid(dataset, "SOPClassUID"),
        transfer_syntax_uid=syntax,
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
    return str(UID(found))


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


def check_bounds(dataset: FileDataset, size: int) -> None:
    """Refuse a truncated file: its last element ends beyond the file, which pydicom does not report.

    Raises:
        RefusedError: the file is truncated.

    """
    if not len(dataset):
        raise RefusedError("contains no elements")
    *_, end = dataset.keys()  # in the file's order
    last = dataset.get_item(end, keep_deferred=True)
    length = getattr(last, "length", None)
    position = getattr(last, "value_tell", None)
    deflated = getattr(dataset, "buffer", None) is not None and "1.2.840.10008.1.2.1.99" in str(
        dataset.file_meta.get("TransferSyntaxUID", "")
    )
    if length is None or position is None or deflated:
        return
    if length != UNDEFINED:
        refuse_truncated(position + length - size)


def refuse_truncated(missing: int) -> None:
    """Refuse a file that lacks bytes at its end.

    Raises:
        RefusedError: the file is truncated.

    """
    if missing > 0:
        raise RefusedError(f"is truncated: {missing} bytes are missing at its end")
