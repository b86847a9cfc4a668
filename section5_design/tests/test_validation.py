"""What is not DICOM as it should be is refused, with a reason and without a crash."""

import contextlib
import io
import struct
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.validation import RefusedError, read_header
from system import instance

CONTENT = instance()[1]


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(RefusedError) as error:
        read_header(path)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no DICOM"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 200, "no DICOM"),
        (b"\0" * 1000, "no DICOM"),
        (b"\0" * 128 + b"DICM", ""),
        (b"\0" * 128 + b"DICM" + b"\xff" * 500, ""),
        (CONTENT[:-100], "cut short"),
        (CONTENT[:2000], ""),
    ],
)
def test_what_is_no_whole_dicom_file(tmp_path: Path, content: bytes, reason: str) -> None:
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
def test_identifiers_that_are_none(tmp_path: Path, changes: dict[str, Any]) -> None:
    dataset = pydicom.dcmread(io.BytesIO(CONTENT))
    target = io.BytesIO()
    for keyword, value in changes.items():
        pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
        element = pydicom.DataElement(keyword, "UI", value, validation_mode=pydicom.config.IGNORE)
        dataset[keyword] = element
    dataset.save_as(target)
    assert "UID" in refused(tmp_path / "file", target.getvalue())


def test_no_patient_s_name_is_in_a_reason(tmp_path: Path) -> None:
    assert "CompressedSamples" not in refused(tmp_path / "file", CONTENT[:-100])


def test_a_file_of_a_hundred_thousand_nested_sequences(tmp_path: Path) -> None:
    start = CONTENT[: CONTENT.index(b"\x08\x00\x05\x00")]
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    sequence = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    assert refused(tmp_path / "file", start + (sequence + item) * 100_000)


def test_a_preamble_that_is_also_a_program_is_dicom_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"#!/bin/sh\nexit\n".ljust(128, b"\0") + CONTENT[128:])
    assert read_header(path).modality == "CT"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(132, len(CONTENT) - 1), bytes_=st.binary(min_size=1, max_size=8))
def test_bytes_of_chance_are_refused_or_taken_and_never_a_crash(tmp_path: Path, place: int, bytes_: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT[:place] + bytes_ + CONTENT[place + len(bytes_) :])
    with contextlib.suppress(RefusedError):
        assert read_header(path).sop_instance_uid
