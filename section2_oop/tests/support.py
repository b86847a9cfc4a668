"""Helpers for the tests. Importing it makes the section's modules importable, from wherever the tests are started."""

import io
import os
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType

SECTION = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SECTION))

import pydicom  # noqa: E402
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid  # noqa: E402

PACKAGE_DATA = Path(pydicom.__file__).parent / "data"
PICTURES = PACKAGE_DATA / "test_files"
SAMPLE = SECTION / "sample"


def needs(module: str, package: str) -> ModuleType:
    """Import a module that only tests need; without its package, skip the test, or fail it in CI."""
    try:
        return import_module(module)
    except ImportError as error:
        if os.environ.get("CI"):
            raise
        raise unittest.SkipTest(f"{package} is missing: pip install {package}") from error


def ct_image(**attributes: object) -> FileDataset:
    """Return a CT image of two by two pixels; an attribute that is None is left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    values: dict[str, object] = {
        "PatientName": "Doe^John",
        "PatientID": "P1",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.1",
        "SeriesNumber": 1,
        "Modality": "CT",
        "StudyDate": "20260102",
        "StudyTime": "0930",
        "Rows": 2,
        "Columns": 2,
    }
    for keyword, value in (values | attributes).items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


class FilesTestCase(unittest.TestCase):
    """A test with its own temporary folder."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def saved(self, dataset: FileDataset, name: str = "image.dcm") -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return path

    def patched(self, dataset: FileDataset, old: bytes, new: bytes) -> Path:
        """Write a file with bytes that pydicom would not write; return its path."""
        path = self.saved(dataset)
        content = path.read_bytes()
        self.assertIn(old, content)
        self.assertEqual(len(old), len(new))
        path.write_bytes(content.replace(old, new))
        return path


def output_of(*words: object) -> tuple[int, str]:
    """Run the command line; return its status and its output."""
    from main import main

    text = io.StringIO()
    with redirect_stdout(text):
        status = main([str(word) for word in words])
    return status, text.getvalue()


def corpus_files() -> list[tuple[str, Path]]:
    """Return name and path of every file of pydicom's wheel and of pydicom-data."""
    data_store = needs("data_store", "pydicom-data")
    roots = {"pydicom": PACKAGE_DATA, "pydicom-data": Path(str(data_store.__file__)).parent / "data"}
    return [
        (f"{name}/{path.relative_to(root).as_posix()}", path)
        for name, root in roots.items()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    ]
