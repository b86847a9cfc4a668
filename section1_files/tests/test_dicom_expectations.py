"""DICOM files of pydicom and pydicom-data, compared with a table made with DCMTK by `make_expectations.py`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_files import dicom_files
from dicom_image import DicomImage, Picture
from dicom_report import build_report
from errors import InputError
from make_expectations import TABLE, dump_fields, render_with_dcmtk, summarize
from support import require_program

EXPECTED: dict[str, dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))
FILES = dicom_files()
WITH_FIELDS = [name for name, entry in EXPECTED.items() if entry["fields"]]
WITH_IMAGE = [name for name, entry in EXPECTED.items() if "image" in entry]
WITH_ERROR = [name for name, entry in EXPECTED.items() if "error" in entry]
LIVE = ["CT_small.dcm", "MR_small_RLE.dcm", "examples_palette.dcm", "examples_overlay.dcm", "SC_rgb_small_odd.dcm"]


def find_file(name: str) -> Path:
    if name not in FILES:
        pytest.skip("pydicom-data is missing: pip install pydicom-data")
    return FILES[name]


def read_fields(path: Path) -> dict[str, str]:
    report = build_report(path)
    values = {"patient_name": report.patient_name, "study_date": report.study_date, "modality": report.modality}
    return {name: value.text for name, value in values.items() if value.state != "absent"}


def test_expectations_cover_every_file() -> None:
    assert FILES.keys() <= EXPECTED.keys()


@pytest.mark.parametrize("name", WITH_FIELDS)
def test_name_date_and_modality_match_dcmdump(name: str) -> None:
    assert read_fields(find_file(name)) == EXPECTED[name]["fields"]


@pytest.mark.parametrize("name", WITH_IMAGE)
def test_image_matches_dcmtk_within_the_tolerance(name: str) -> None:
    entry, actual = EXPECTED[name], summarize(DicomImage(find_file(name)).render())
    tolerance = entry.get("tolerance", 1)
    assert actual["shape"] == entry["image"]["shape"]
    assert actual["mean"] == pytest.approx(entry["image"]["mean"], abs=tolerance)
    difference = np.abs(np.subtract(actual["samples"], entry["image"]["samples"]))
    assert difference.max() <= tolerance


@pytest.mark.parametrize("name", WITH_ERROR)
def test_file_without_a_usable_image_gives_the_expected_error(name: str) -> None:
    with pytest.raises(InputError) as error:
        DicomImage(find_file(name)).render()
    assert error.value.problem == EXPECTED[name]["error"]


@pytest.mark.parametrize("name", LIVE)
def test_expectations_match_the_installed_dcmtk(name: str) -> None:
    for program in ("dcmdump", "dcmj2pnm", "dcml2pnm"):
        require_program(program, "dcmtk")
    entry, path = EXPECTED[f"test_files/{name}"], FILES[f"test_files/{name}"]
    assert dump_fields(path) == entry["fields"]
    expected = render_with_dcmtk(path)
    assert not isinstance(expected, str)
    assert summarize(expected) == entry["image"]
    assert_images_match(DicomImage(path).render(), expected)


def assert_images_match(actual: Picture, expected: Picture, tolerance: int = 1) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected.astype(int)).max() <= tolerance
