"""The history of a run is checked against the promise; without the fencing token, a run breaks it."""

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.history import Event, History, collect, find_faults, read
from system import OVER_HTTP, System, database, family, instance, kill_all, until

# An analysis that waits in its first attempt; with UNFENCED it patches what finishes a job in its worker's process.
WAITING = """
import os
from analysis.default import analyse as ours
import jobs.queue, jobs.tasks

def finish(leases):
    from django.db import connection
    with connection.cursor() as cursor:
        for lease in leases:
            cursor.execute("UPDATE jobs_job SET state = 'done', lease_until = NULL WHERE id = %s", (lease.job_id,))
            jobs.queue._record_attempt(cursor, lease, "done", "")
    return {lease.job_id for lease in leases}

if os.environ.get("UNFENCED"):
    jobs.tasks.finish = finish

def analyse(file, context):
    import time
    folder = os.environ["DATA_FOLDER"]
    if context.attempt == 1:
        open(folder + "/waits", "w").close()
        while not os.path.exists(folder + "/go on"): time.sleep(0.05)
    return ours(file, context)
"""


@pytest.mark.parametrize("fenced", [True, False], ids=["fenced", "unfenced"])
def test_a_run_without_the_fencing_token_breaks_the_promise(tmp_path: Path, fenced: bool) -> None:
    """A worker is stopped past its lease; another does its job; the first goes on."""
    (tmp_path / "waiting.py").write_text(WAITING, encoding="utf-8")
    settings = {"ANALYSIS": "waiting.analyse", "PYTHONPATH": str(tmp_path), "TASK_SECONDS": "3", "LEASE_SECONDS": "4"}
    settings |= {} if fenced else {"UNFENCED": "1"}
    with database(f"history_{os.getpid()}") as url, System(tmp_path, url, OVER_HTTP, **settings) as system:
        history = History(tmp_path / "history.jsonl")
        uid, content = instance()
        history.write("sent", uid=uid, sha256="")
        assert system.post(content).status == 200
        history.write("acknowledged", uid=uid)
        until((tmp_path / "waits").exists)
        old = system.parts["worker"]
        stopped = family(old.pid)
        for process in stopped:
            process.suspend()
        system.start("worker")
        system.wait_for(uid)
        (tmp_path / "go on").touch()
        for process in stopped:
            if not process.children():  # its parent would end it for the time that it took
                process.resume()
        if fenced:
            until(lambda: "discarded a late result" in (tmp_path / "log").read_text())
        else:
            until(lambda: system.results_of(uid) == 2)
        collect(system, history)
        kill_all(stopped)
        old.wait()
    faults = {fault for fault, _ in find_faults(read(history.path))}
    unfenced = {"more than one result", "a claim ended after a later one", "one claim ended twice"}
    assert faults == (set() if fenced else unfenced)


SENT: list[Event] = [
    {"event": "sent", "uid": "1.2", "sha256": "ab"},
    {"event": "acknowledged", "uid": "1.2"},
    {"event": "stored", "job": 1, "uid": "1.2", "sha256": "ab", "intact": True, "state": "done", "token": 2},
    {"event": "ended", "job": 1, "token": 1, "outcome": "lost"},
    {"event": "ended", "job": 1, "token": 2, "outcome": "done"},
    {"event": "result", "job": 1, "token": 2},
]


def change(number: int, **fields: Any) -> list[Event]:
    return [event | fields if place == number else event for place, event in enumerate(SENT)]


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        (SENT, ""),
        (SENT[:2], "acknowledged and lost"),
        (change(2, intact=False), "not as it was sent"),
        (change(2, sha256="cd"), "not as it was sent"),
        (change(2, state="running"), "stored, and never ended"),
        (change(2, delivered=1), ""),
        (change(2, delivered=0), "not delivered once"),
        ([*SENT, SENT[2]], "stored twice"),
        (SENT[:-1], "a result that is not of the latest claim, or none"),
        (change(5, token=1), "a result that is not of the latest claim, or none"),
        ([*SENT, SENT[5]], "more than one result"),
        (change(3, outcome="done"), "more than one result"),
        ([*SENT, SENT[3]], "one claim ended twice"),
    ],
)
def test_a_history_that_breaks_the_promise_is_found_out(events: list[Event], fault: str) -> None:
    faults = {found for found, _ in find_faults(events)}
    assert (fault in faults) if fault else (faults == set())
