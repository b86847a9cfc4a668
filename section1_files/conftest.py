"""Fixtures; in the section's folder, so that bare `pytest` finds the modules here."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import main

if TYPE_CHECKING:
    from support import Outcome, Run, Write


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
