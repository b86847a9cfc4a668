"""Fixtures: the command line as a person uses it, and tables to read."""

import logging
from pathlib import Path

import pytest

import main
from support import Outcome, Run, Write


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
def csv_file(tmp_path: Path) -> Write:
    """Write a CSV file; returns its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
