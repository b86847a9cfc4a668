"""Fixtures, in the section's folder so that bare `pytest` finds the modules."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import main

if TYPE_CHECKING:
    from support import Outcome, ReadJson, Run, Write


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Run:
    """Run the command line; return its status, its output and its log."""
    from support import Outcome

    def call(*words: object) -> Outcome:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            status = main.main([str(word) for word in words])
        return Outcome(status, capsys.readouterr().out, [record.getMessage() for record in caplog.records])

    return call


@pytest.fixture
def csv_file(tmp_path: Path) -> Write:
    """Write a CSV file; return its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def read(run: Run, csv_file: Write) -> ReadJson:
    """Write a CSV file and return the parsed output of `csv --json`."""

    def call(content: str | bytes, *options: str) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(run("csv", csv_file(content), "--json", *options).output)
        return result

    return call
