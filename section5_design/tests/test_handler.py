"""Jobs of the default analysis that are claimed together: their previews are synced together, before any result."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from analysis.models import Result
from archive.object_store import open_object
from jobs import tasks
from jobs.models import Job
from pipeline import make_due, run_jobs, send_series

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local_store", "large_claims")]


@pytest.fixture
def large_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.tasks._claim_size", 16)
    monkeypatch.setattr("jobs.tasks.overloaded", lambda: False)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record the syncs and the statement that saves results, in order."""
    found: list[str] = []

    def spy(name: str, label: str) -> None:
        original = getattr(os, name)

        def record_and_call(descriptor: int) -> None:
            found.append(label)
            original(descriptor)

        monkeypatch.setattr(os, name, record_and_call)

    def save(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "INSERT INTO analysis_result" in sql:
            found.append("save")
        return execute(sql, params, many, context)

    spy("fdatasync", "sync file")
    spy("fsync", "sync folder")
    with connection.execute_wrapper(save):
        yield found


def test_previews_of_a_batch_are_synced_before_its_results_are_saved(calls: list[str]) -> None:
    send_series(1)
    run_jobs()  # makes the folder of previews
    send_series(4)
    calls.clear()
    run_jobs()
    assert calls == [*["sync file"] * 4, "sync folder", "save"]


def test_jobs_whose_previews_cannot_be_synced_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    send_series(3)

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(os, "fdatasync", fail)
        tasks.run_batch("small", float("inf"))
    states = Job.objects.values_list("state", "attempts", "reason")
    assert set(states) == {("queued", 1, "Input/output error, while saving")}
    assert not Result.objects.exists()
    make_due()
    run_jobs()
    previews = list(Result.objects.values_list("preview", flat=True))
    assert len(previews) == 3
    for key in previews:
        with open_object(key) as file:
            assert file.read(4) == b"\x89PNG"
