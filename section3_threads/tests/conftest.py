"""Fixtures: the command line as a person uses it."""

import logging
from pathlib import Path

import pytest

import main
from support import Outcome, Run, Write


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Run:
    """Run the command line; returns its status, what it printed and the errors it logged."""

    def call(*words: object) -> Outcome:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            status = main.main([str(word) for word in words])
        errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        return Outcome(status, capsys.readouterr().out, errors)

    return call


@pytest.fixture
def json_file(tmp_path: Path) -> Write:
    """Write a JSON file; returns its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "elements.json"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
