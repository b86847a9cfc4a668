"""What the tests share: outcomes of the command line, real DICOM files, peers from Debian."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


class Outcome(NamedTuple):
    status: int
    output: str
    log: list[str]


Run = Callable[..., Outcome]
Write = Callable[[str | bytes], Path]

PACKAGE_DATA = Path(pydicom.__file__).parent / "data"
PICTURES = PACKAGE_DATA / "test_files"


def dicom_files() -> list[Path]:
    """Every file in pydicom's package that is meant to be DICOM."""
    folders = (PACKAGE_DATA / "test_files", PACKAGE_DATA / "charset_files", PACKAGE_DATA / "palettes")
    others = {".txt", ".json", ".dump", ".gz", ".icc", ".md"}
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in files if path.suffix not in others and path.name not in ("README", "no_meta.dcm")]


def peer(command: str, package: str) -> str:
    """The path of a peer's command; without it the test is skipped on a person's machine and fails in CI."""
    found = shutil.which(command)
    if found is None:
        message = f"{command} is missing: apt install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def ct_image(**attributes: object) -> FileDataset:
    """A CT image of two by two pixels."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.StudyDate, dataset.Modality = "Doe^John", "20260102", "CT"
    dataset.Rows = dataset.Columns = 2
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = bytes([0, 64, 128, 255])
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def saved(dataset: FileDataset, folder: Path, name: str = "image.dcm") -> Path:
    path = folder / name
    dataset.save_as(path, enforce_file_format=True)
    return path
