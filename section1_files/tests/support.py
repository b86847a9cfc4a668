"""Helpers for the tests: outcomes of the command line, DICOM files to write, Debian programs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

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
ReadJson = Callable[..., dict[str, Any]]

PICTURES = Path(pydicom.__file__).parent / "data" / "test_files"


def require_program(command: str, package: str) -> str:
    """Return the path of a program; skip the test if it is missing, or fail it in CI."""
    path = shutil.which(command)
    if path is None:
        message = f"{command} is missing: apt install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def ct_image(**attributes: object) -> FileDataset:
    """Return a CT image of two by two pixels."""
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


def save(dataset: FileDataset, folder: Path, name: str = "image.dcm") -> Path:
    """Write a data set as a DICOM file; return its path."""
    path = folder / name
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path
