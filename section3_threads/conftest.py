"""Fixtures of the tests; in this folder, so that bare `pytest` finds the section's modules."""

import logging
import sys
from pathlib import Path

import pytest

import main

sys.path.insert(0, str(Path(__file__).parent / "tests"))

from support import Outcome, Run, Write


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Run:
    """Run the command line; return its status, output and logged errors."""

    def call(*arguments: object) -> Outcome:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            status = main.main([str(argument) for argument in arguments])
        errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        return Outcome(status, capsys.readouterr().out, errors)

    return call


@pytest.fixture
def json_file(tmp_path: Path) -> Write:
    """Write a JSON file; return its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "elements.json"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
