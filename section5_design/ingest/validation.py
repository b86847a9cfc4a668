"""Whether a file is DICOM as it should be: structure, bounds, and the identifiers that everything hangs on.

Only the header is read; pixels are never decoded here.
"""

import re
import warnings
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

UID_RULE = re.compile(r"[0-9]+(\.[0-9]+)*\Z")  # PS3.5, 9.1; leading zeros are met in real archives and do no harm
LONGEST_UID = 64
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
UNDEFINED = 0xFFFFFFFF
PROGRAMS = (b"MZ", b"\x7fELF", b"#!", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
DEFLATED = b"1.2.840.10008.1.2.1.99"
LARGEST_INFLATED = 256 << 20  # bytes: pydicom holds them in memory
HIGHEST_RATIO = 200
CHUNK = 1 << 20
LONGEST_TEXT = 64


class RefusedError(Exception):
    """The file is not taken; the message says why, without patient data."""


@dataclass(frozen=True)
class Header:
    """What the archive keeps of an instance's header."""

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
    """The header of a DICOM file of so many bytes.

    Raises:
        RefusedError: it is no DICOM file (PS3.10, 7.1), is cut short, or lacks an identifier (PS3.3, C.7 and C.12).

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pydicom finds odd is kept as it stands
            check_start(file, size)
            dataset = pydicom.dcmread(file, defer_size=1024, stop_before_pixels=False)
            check_bounds(dataset, size)
            return header_of(dataset)
    except InvalidDicomError:
        raise RefusedError("is no DICOM file: the prefix DICM is missing at byte 128") from None
    except RefusedError:
        raise
    except Exception as error:  # noqa: BLE001  # pydicom raises whatever broken bytes lead to
        raise RefusedError(f"cannot be read as DICOM ({type(error).__name__})") from None


def check_start(file: BinaryIO, size: int) -> None:
    """Refuse what must not even be read: a preamble that is a program, and a bomb of deflated elements.

    Raises:
        RefusedError: it is one. A preamble that is a TIFF is not: PS3.10, 7.1 has it for that.

    """
    start = file.read(2048)
    file.seek(0)
    if start.startswith(PROGRAMS) and start[128:132] == b"DICM":
        raise RefusedError("its preamble is the beginning of a program (CVE-2019-11687)")
    if DEFLATED not in start or start[132:138] != b"\x02\x00\x00\x00UL":
        return
    begins = 144 + int.from_bytes(start[140:144], "little")  # behind the group length and what it counts (PS3.10, 7.1)
    inflater, grown, most = zlib.decompressobj(-zlib.MAX_WBITS), 0, min(LARGEST_INFLATED, (size + 5000) * HIGHEST_RATIO)
    file.seek(begins)
    part = file.read(CHUNK)
    while part and not inflater.eof:
        grown += len(inflater.decompress(part, CHUNK))
        if grown > most:
            raise RefusedError(f"its deflated elements grow to more than {most >> 20} MB")
        part = inflater.unconsumed_tail or file.read(CHUNK)
    file.seek(0)


def header_of(dataset: FileDataset) -> Header:
    """What the archive keeps.

    Raises:
        RefusedError: an identifier is missing or is none.

    """
    meta = getattr(dataset, "file_meta", None)
    syntax = text(meta.get("TransferSyntaxUID") if meta is not None else None, LONGEST_UID)
    return Header(
        sop_instance_uid=uid(dataset, "SOPInstanceUID"),
        sop_class_uid=uid(dataset, "SOPClassUID"),
        transfer_syntax_uid=syntax,
        study_uid=uid(dataset, "StudyInstanceUID"),
        series_uid=uid(dataset, "SeriesInstanceUID"),
        patient_id=text(dataset.get("PatientID"), LONGEST_TEXT),
        patient_name=text(dataset.get("PatientName"), 324),
        study_date=text(dataset.get("StudyDate"), 8),
        modality=text(dataset.get("Modality"), 16),
        decoded_size=decoded_size(dataset),
    )


def uid(dataset: Dataset, keyword: str) -> str:
    """A unique identifier that must be there."""
    found = text(dataset.get(keyword), LONGEST_UID + 1)
    if not found:
        raise RefusedError(f"has no {keyword}")
    if len(found) > LONGEST_UID or not UID_RULE.match(found):
        raise RefusedError(f"its {keyword} is no UID")
    return str(UID(found))


def text(value: Any, longest: int) -> str:
    """A value as text that PostgreSQL takes, cut to a length."""
    return "" if value is None else str(value).replace("\0", "").encode("utf-8", "replace").decode()[:longest].strip()


def decoded_size(dataset: Dataset) -> int:
    """Bytes of the pixels when decoded, as the header claims; 0 where there are none."""
    if not any(keyword in dataset for keyword in PIXELS):
        return 0
    bits = whole(dataset.get("BitsAllocated"), 8)
    samples, frames = whole(dataset.get("SamplesPerPixel"), 1), whole(dataset.get("NumberOfFrames"), 1)
    size = whole(dataset.get("Rows"), 0) * whole(dataset.get("Columns"), 0) * samples * frames * bits // 8
    return min(size, 2**62)


def whole(value: Any, otherwise: int) -> int:
    """A whole number that is not negative, or another."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        return otherwise
    return number if number >= 0 else otherwise


def check_bounds(dataset: FileDataset, size: int) -> None:
    """Refuse a file whose last element goes beyond its end: pydicom reads one that is cut short as if it were whole.

    Raises:
        RefusedError: the file is cut short.

    """
    if not len(dataset):
        raise RefusedError("holds no elements")
    *_, end = dataset.keys()  # in the file's order
    last = dataset.get_item(end, keep_deferred=True)
    length = getattr(last, "length", None)
    place = getattr(last, "value_tell", None)
    deflated = getattr(dataset, "buffer", None) is not None and "1.2.840.10008.1.2.1.99" in str(
        dataset.file_meta.get("TransferSyntaxUID", "")
    )
    if length is None or place is None or deflated:
        return
    if length != UNDEFINED and place + length > size:
        raise RefusedError(f"is cut short: {place + length - size} bytes are missing at its end")
