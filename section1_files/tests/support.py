"""What the tests share: outcomes of the command line, real DICOM files, peers from Debian."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pydicom
import pytest


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
