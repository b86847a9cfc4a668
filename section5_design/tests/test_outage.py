"""An unreachable database: one clear line, then quiet retries, and one line when it responds again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import DataError, OperationalError

from core import outage
from jobs import tasks
from system import ANY_LOAD, SECTION, database, until, url_of

REFUSED = OperationalError('connection to server at "db", port 5432 failed: Connection refused\n\tIs it running?')


@pytest.fixture(autouse=True)
def _no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "_began_at", None)


def test_repeated_errors_are_one_line_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        outage.report_outage(REFUSED)
    (message,) = caplog.messages
    assert 'server at "db", port 5432 failed: Connection refused); check it and DATABASE_URL' in message


def test_an_outage_that_lasts_is_reported_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage.report_outage(REFUSED)
    monkeypatch.setattr(outage, "REMIND_EVERY", 0.0)
    outage.report_outage(REFUSED)
    assert len(caplog.messages) == 2


def test_recovery_is_reported_once_and_the_next_outage_again(caplog: pytest.LogCaptureFixture) -> None:
    outage.report_recovery()
    outage.report_outage(REFUSED)
    outage.report_recovery()
    outage.report_recovery()
    outage.report_outage(REFUSED)
    assert [message.split(" (")[0].split(",")[0] for message in caplog.messages] == [
        *("the database does not respond", "the database responds again", "the database does not respond"),
    ]


def test_the_text_of_an_error_about_values_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    outage.report_outage(DataError("value Doe^Jane is too long"))
    assert "Doe" not in caplog.text


@pytest.mark.parametrize("program", ["worker", "maintenance"])
def test_a_program_waits_for_a_database_that_comes_later(program: str, tmp_path: Path) -> None:
    name, log = f"late_{program}_{os.getpid()}", tmp_path / "log"
    environment = os.environ | ANY_LOAD | {"DATA_FOLDER": str(tmp_path), "DATABASE_URL": url_of(name)}
    command = [sys.executable, str(SECTION / "main.py"), program]
    with log.open("w") as file, subprocess.Popen(command, env=environment, stdout=file, stderr=file) as running:
        try:
            until(lambda: "does not respond" in log.read_text())
            with database(name):
                until(lambda: "the database responds again" in log.read_text())
        finally:
            running.kill()
    # Not one for each retry of each loop; one more if a loop fails just before another succeeds, and one a minute.
    assert log.read_text().count("does not respond") < 5
    assert f'database "{name}" does not exist' in log.read_text()


@pytest.mark.django_db
def test_a_wake_up_without_the_database_is_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def claim(*_: object) -> None:
        raise REFUSED

    monkeypatch.setattr(tasks, "claim", claim)
    monkeypatch.setattr(tasks, "wait_for_capacity", lambda: True)
    tasks.run_queue("small")
    assert caplog.text.count("the database does not respond") == 1
