"""Malformed DICOM files are refused with a reason."""

import contextlib
import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ingest.header import Header, RefusedError, read_header
from ingest.header_scanner import HeaderScanner
from system import instance

CONTENT = instance()[1]


def header(path: Path) -> Header:
    scanner = HeaderScanner()
    with path.open("rb") as file:
        while part := file.read(1 << 16):
            scanner.feed(part)
    return read_header(scanner)


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(RefusedError) as error:
        header(path)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a DICOM"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 200, "not a DICOM"),
        (b"\0" * 1000, "not a DICOM"),
        (b"\0" * 128 + b"DICM", ""),
        (b"\0" * 128 + b"DICM" + b"\xff" * 500, ""),
        (CONTENT[:-100], "truncated"),
        (CONTENT[:2000], ""),
    ],
)
def test_an_incomplete_dicom_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refused(tmp_path / "file", content)


@pytest.mark.parametrize(
    "changes",
    [
        {"SOPInstanceUID": "../../etc/passwd"},
        {"StudyInstanceUID": "1.2/3"},
        {"SeriesInstanceUID": "1." + "2" * 70},
        {"StudyInstanceUID": ""},
        {"SOPClassUID": "a b"},
    ],
)
def test_invalid_identifiers_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    dataset = pydicom.dcmread(io.BytesIO(CONTENT))
    target = io.BytesIO()
    for keyword, value in changes.items():
        pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
        element = pydicom.DataElement(keyword, "UI", value, validation_mode=pydicom.config.IGNORE)
        dataset[keyword] = element
    dataset.save_as(target)
    assert "UID" in refused(tmp_path / "file", target.getvalue())


def test_reasons_contain_no_patient_name(tmp_path: Path) -> None:
    assert "CompressedSamples" not in refused(tmp_path / "file", CONTENT[:-100])


def test_a_hundred_thousand_nested_sequences_are_refused(tmp_path: Path) -> None:
    start = CONTENT[: CONTENT.index(b"\x08\x00\x05\x00")]
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    sequence = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    assert refused(tmp_path / "file", start + (sequence + item) * 100_000)


@pytest.mark.parametrize("start", [b"#!/bin/sh\nexit\n", b"MZ\x90\0", b"\x7fELF\x02", b"\xcf\xfa\xed\xfe"])
def test_an_executable_preamble_is_refused(tmp_path: Path, start: bytes) -> None:
    """CVE-2019-11687: a DICOM file whose preamble makes it an executable."""
    assert "is executable" in refused(tmp_path / "file", start.ljust(128, b"\0") + CONTENT[128:])


def test_a_tiff_preamble_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"II*\0\x08\0\0\0".ljust(128, b"\0") + CONTENT[128:])
    assert header(path).series["modality"] == "CT"


def deflated(content: bytes) -> bytes:
    """A file of the deflated transfer syntax (PS3.5, A.5)."""
    dataset = pydicom.dcmread(io.BytesIO(CONTENT))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    target = io.BytesIO()
    dataset.save_as(target)
    start = target.getvalue()
    begins = 144 + int.from_bytes(start[140:144], "little")
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    plain = zlib.decompress(start[begins:], -zlib.MAX_WBITS)
    return start[:begins] + packing.compress(plain + content) + packing.flush()


def test_deflated_elements_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(deflated(b""))
    assert header(path).series["modality"] == "CT"


def test_a_bomb_of_deflated_elements_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    private = struct.pack("<HH2sHL", 0x7FE1, 0x1010, b"OB", 0, 400 << 20)
    bomb = deflated(private + bytes(400 << 20))
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    assert "inflate to more than" in refused(tmp_path / "file", bomb)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_a_header_that_claims_terabytes_costs_no_memory(tmp_path: Path) -> None:
    _, content = instance(Rows=65535, Columns=65535, NumberOfFrames=1000)
    path = tmp_path / "file"
    path.write_bytes(content)
    assert header(path).decoded_size == 65535 * 65535 * 1000 * 2


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(132, len(CONTENT) - 1), bytes_=st.binary(min_size=1, max_size=8))
def test_random_bytes_never_crash(tmp_path: Path, place: int, bytes_: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT[:place] + bytes_ + CONTENT[place + len(bytes_) :])
    with contextlib.suppress(RefusedError):
        assert header(path).sop_instance_uid


def test_a_bomb_of_empty_elements_is_refused_in_little_memory(tmp_path: Path) -> None:
    place = CONTENT.index(b"\x08\x00\x05\x00")
    bomb = CONTENT[:place] + struct.pack("<HH2sH", 0x0008, 0x0010, b"LO", 0) * 1_000_000 + CONTENT[place:]
    path = tmp_path / "file"
    path.write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(RefusedError, match="more than 20,000 elements"):
        header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_nested_elements_cost_no_memory(tmp_path: Path) -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + struct.pack("<HH2sH", 0x0008, 0x0010, b"LO", 0) * 20_000
    item += b"\xfe\xff\x0d\xe0" + bytes(4)
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + item + b"\xfe\xff\xdd\xe0" + bytes(4)
    place = CONTENT.index(b"\x08\x00\x05\x00")
    path = tmp_path / "file"
    path.write_bytes(CONTENT[:place] + sequence + CONTENT[place:])
    tracemalloc.start()
    assert header(path).series["modality"] == "CT"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_dates_of_acr_nema_are_stored_without_separators(tmp_path: Path) -> None:
    date = CONTENT.index(b"\x08\0\x20\0DA")
    length = struct.unpack_from("<H", CONTENT, date + 6)[0]
    old = b"\x08\0\x20\0DA\x0a\x001993.04.30"
    path = tmp_path / "file"
    path.write_bytes(CONTENT[:date] + old + CONTENT[date + 8 + length :])
    assert header(path).study["study_date"] == "19930430"
