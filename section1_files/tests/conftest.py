"""Fixtures: the command line as a person uses it, real DICOM files, and the peers from Debian."""

import logging
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import main
import pydicom
import pytest


class Outcome(NamedTuple):
    status: int
    output: str
    log: list[str]


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Run:
    """Run the command line; returns its status, what it printed and what it logged."""

    def call(*words: object) -> Outcome:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            status = main.main([str(word) for word in words])
        return Outcome(status, capsys.readouterr().out, [record.getMessage() for record in caplog.records])

    return call


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write a CSV file; returns its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


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


@pytest.fixture(autouse=True)
def _no_warning_escapes() -> None:
    warnings.simplefilter("error")
