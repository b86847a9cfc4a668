"""The history of a run, one event a line, and its check against the promise: `python benchmarks/history.py FILE`.

The promise: what was acknowledged is stored as it was sent, each stored instance gets one result or is quarantined, and
the result is that of the latest claim. The senders write what they sent and what was acknowledged while it happens;
what was claimed and finished is taken from the database when all is quiet.
"""

import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]

from system import System, instance  # noqa: E402

Event = dict[str, Any]
ENDS = ("done", "quarantined")


class History:
    """Events as lines of JSON, from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.write_text("", encoding="utf-8")

    def write(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "at": time.time(), **fields})
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def read(path: Path) -> list[Event]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Sender(threading.Thread):
    """Sends new instances one after the other, and writes which of them were acknowledged."""

    def __init__(self, system: System, history: History, *, over_dicom: bool = False) -> None:
        super().__init__(daemon=True)
        self._system, self._history, self._over_dicom = system, history, over_dicom
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            uid, content = instance()
            # Over C-STORE the sender writes the data set again, so its bytes are its own.
            sha256 = "" if self._over_dicom else hashlib.sha256(content).hexdigest()
            self._history.write("sent", uid=uid, sha256=sha256)
            try:
                stored = self._store(content) if self._over_dicom else self._system.post(content).status == 200
            except (OSError, HTTPException):
                stored = False
            if stored:
                self._history.write("acknowledged", uid=uid)
            else:
                self.enough.wait(0.1)

    def _store(self, content: bytes) -> bool:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            command = ["storescu", "-to", "5", "-aec", "SECTION5", "localhost", str(self._system.dicom), file.name]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def sending(system: System, history: History, clients: int) -> Iterator[None]:
    """Send all the while, one client over C-STORE and the others over HTTP."""
    senders = [Sender(system, history, over_dicom=number == 0) for number in range(clients)]
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        for sender in senders:
            sender.enough.set()
        for sender in senders:
            sender.join()


def collect(system: System, history: History) -> None:
    """Write what the database and the store have, when all is quiet."""
    for job, uid, sha256, state, token in system.query(
        "SELECT j.id, sop_instance_uid, sha256, j.state, j.fencing_token FROM archive_instance AS i"
        " JOIN analysis_job AS j ON j.instance_id = i.id"
    ):
        history.write(
            "stored", job=job, uid=uid, sha256=sha256, intact=is_intact(system, sha256), state=state, token=token
        )
    for job, token, outcome, started, at in system.query(
        "SELECT job_id, fencing_token, outcome, extract(epoch FROM started_at), extract(epoch FROM at)"
        " FROM jobs_attempt ORDER BY at"
    ):
        history.write("claimed", job=job, token=token, at=float(started))
        history.write("ended", job=job, token=token, outcome=outcome, at=float(at))
    for job, token in system.query(
        "SELECT j.id, r.fencing_token FROM analysis_result AS r JOIN analysis_job AS j ON j.instance_id = r.instance_id"
        " WHERE NOT superseded"
    ):
        history.write("result", job=job, token=token)


def is_intact(system: System, sha256: str) -> bool:
    """Whether the object of a hash has that hash, by the words of the format and not by the code under test."""
    path = system.folder / "store" / "objects" / sha256[:2] / sha256
    with contextlib.suppress(OSError, ValueError):
        return hashlib.sha256(system.unsealed(path.read_bytes())).hexdigest() == sha256
    return False


def find_faults(events: Iterable[Event]) -> Iterator[tuple[str, str]]:
    """Compare a history with the promise: each fault, and what has it."""
    by_kind: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_kind[event["event"]].append(event)
    stored: dict[str, list[Event]] = defaultdict(list)
    for one in by_kind["stored"]:
        stored[one["uid"]].append(one)
    sent = {one["uid"]: one["sha256"] for one in by_kind["sent"]}
    for one in by_kind["acknowledged"]:
        if one["uid"] not in stored:
            yield "acknowledged and lost", one["uid"]
    for uid, copies in stored.items():
        if len(copies) > 1:
            yield "stored twice", uid
        for one in copies:
            if not one["intact"] or (sent.get(uid) and one["sha256"] != sent[uid]):
                yield "not as it was sent", uid
            if one["state"] not in ENDS:
                yield "stored, and never ended", uid
    yield from find_job_faults(by_kind)


def find_job_faults(by_kind: dict[str, list[Event]]) -> Iterator[tuple[str, str]]:
    """Compare what became of the jobs with the promise."""
    ended, results = defaultdict(list), defaultdict(list)
    for one in by_kind["ended"]:
        ended[one["job"]].append(one)
    for one in by_kind["result"]:
        results[one["job"]].append(one["token"])
    for one in by_kind["stored"]:
        job = one["job"]
        tokens = [attempt["token"] for attempt in ended[job]]
        finished = [attempt["token"] for attempt in ended[job] if attempt["outcome"] == "done"]
        expected = [one["token"]] if one["state"] == "done" else []
        if len(results[job]) > 1 or len(finished) > 1:
            yield "more than one result", f"job {job}"
        elif results[job] != expected or finished != expected:
            yield "a result that is not of the latest claim, or none", f"job {job}"
        if len(set(tokens)) < len(tokens):
            yield "one claim ended twice", f"job {job}"
        if tokens != sorted(tokens):
            yield "a claim ended after a later one", f"job {job}"


def print_table(path: Path) -> int:
    """Print what became of everything; 1 if the promise was broken."""
    events = read(path)
    counts = Counter(one["event"] for one in events)
    states = Counter(one["state"] for one in events if one["event"] == "stored")
    faults = list(find_faults(events))
    rows = {"sent": counts["sent"], "acknowledged": counts["acknowledged"], "stored, hashed again": counts["stored"]}
    rows |= {"claims": counts["claimed"], "results": counts["result"], "quarantined": states["quarantined"]}
    rows |= {"acknowledged and lost": 0, "more than one result": 0, **Counter(fault for fault, _ in faults)}
    for name, value in rows.items():
        print(f"| {name} | {value:,} |")
    for fault, what in faults[:20]:
        print(f"{what}: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(print_table(Path(sys.argv[1])))
