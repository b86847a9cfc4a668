"""The history of a run, one event a line, and its check against the promise: `python benchmarks/history.py FILE`.

The promise: what was acknowledged is stored as it was sent, each stored instance gets one result or is quarantined, and
the result is that of the latest claim. The senders write what they sent and what was acknowledged while it happens;
what was claimed and finished is taken from the database when all is quiet.
"""

import contextlib
import hashlib
import io
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]

from tusclient.client import TusClient  # noqa: E402
from tusclient.exceptions import TusCommunicationError  # noqa: E402

from people import Person  # noqa: E402
from system import System, instance  # noqa: E402

Event = dict[str, Any]
ENDS = ("done", "quarantined")
RETRIES = 60  # of an upload, and of a request for a receipt, one a second
BATCH = 20  # images that storescu sends over one association


class History:
    """Events as lines of JSON, from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self._lock = threading.Lock()
        path.write_text("", encoding="utf-8")

    def write(self, event: str, **fields: Any) -> None:
        one = {"event": event, "at": time.time(), **fields}
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            self.events.append(one)
            file.write(f"{json.dumps(one)}\n")


def read(path: Path) -> list[Event]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def make_uid() -> str:
    """Return a new UID, always of the same length."""
    return f"2.25.1{secrets.randbelow(10**37):037}"


@lru_cache(maxsize=1)
def template() -> tuple[str, bytes]:
    """Return an instance that others are made of, which takes a hundredth of the time that pydicom takes."""
    return instance(SOPInstanceUID=make_uid())


def make_instance() -> tuple[str, bytes]:
    """Return a new instance: the UID and the bytes."""
    (old, content), uid = template(), make_uid()
    return uid, content.replace(old.encode(), uid.encode())


class Sender(threading.Thread):
    """Sends new instances one after the other, and writes which of them were acknowledged."""

    def __init__(self, system: System, history: History, *, over_dicom: bool = False) -> None:
        super().__init__(daemon=True)
        self._system, self._history, self._over_dicom = system, history, over_dicom
        self.enough, self.pace = threading.Event(), 0.0

    def run(self) -> None:
        while not self.enough.is_set():
            batch = [make_instance() for _ in range(BATCH if self._over_dicom else 1)]
            for uid, content in batch:
                # Over C-STORE the sender writes the data set again, so its bytes are its own.
                sha256 = "" if self._over_dicom else hashlib.sha256(content).hexdigest()
                self._history.write("sent", uid=uid, sha256=sha256)
            try:
                stored = self._store_over_dicom(batch) if self._over_dicom else self.store(*batch[0])
            except (OSError, HTTPException):
                stored = False
            if stored:
                for uid, _ in batch:
                    self._history.write("acknowledged", uid=uid)
            self.enough.wait(self.pace if stored else 0.1)

    def store(self, uid: str, content: bytes) -> bool:  # noqa: ARG002
        """Send an instance; return whether it was acknowledged."""
        return self._system.post(content).status == 200

    def _store_over_dicom(self, batch: list[tuple[str, bytes]]) -> bool:
        """Send instances over one association; return whether all were acknowledged: storescu stops at a failure."""
        with tempfile.TemporaryDirectory() as folder:
            for uid, content in batch:
                Path(folder, uid).write_bytes(content)
            address = ["localhost", str(self._system.dicom)]
            command = ["storescu", "-to", "5", "-aec", "SECTION5", "+sd", *address, folder]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Uploader(Sender):
    """Sends by tus, resumes what a fault interrupted, and asks for the receipt of what was stored."""

    def __init__(self, system: System, history: History, person: Person, receipts: Path) -> None:
        super().__init__(system, history)
        self._person, self._receipts = person, receipts

    def store(self, uid: str, content: bytes) -> bool:
        client = TusClient(f"{self._person.base}/files/", headers=self._person.headers())
        try:
            upload = client.uploader(
                file_stream=io.BytesIO(content),
                chunk_size=20_000,
                retries=RETRIES,
                retry_delay=1,
                metadata={"filename": uid},
            )
            upload.upload()
        except TusCommunicationError:
            return False
        self._history.write("uploaded", uid=uid)
        self._keep_receipt(uid)
        return True

    def _keep_receipt(self, uid: str) -> None:
        """Ask for the receipt until the audit chain has linked it, or a fault is in the way."""
        for _ in range(RETRIES):
            found = self._person.get(f"/api/instances/?sop_instance_uid={uid}")
            if found.status_code != 200 or not found.json()["results"]:
                return
            answer = self._person.get(f"/api/receipts/{found.json()['results'][0]['id']}")
            if answer.status_code == 200:
                (self._receipts / uid).write_text(answer.text, encoding="ascii")
                return
            self.enough.wait(1)


@contextlib.contextmanager
def sending(system: System, history: History, clients: int, *more: Sender, pace: float = 0.0) -> Iterator[None]:
    """Send all the while, one client over C-STORE, the others over HTTP, and more, each with pauses of `pace` s."""
    senders = [*(Sender(system, history, over_dicom=number == 0) for number in range(clients)), *more]
    for sender in senders:
        sender.pace = pace
        sender.start()
    try:
        yield
    finally:
        for sender in senders:
            sender.enough.set()
        for sender in senders:
            sender.join()


def collect(system: System, history: History, delivered: Counter[str] | None = None) -> None:
    """Write what the database, the store and a destination of deliveries have, when all is quiet."""
    for job, uid, sha256, state, token in system.query(
        "SELECT j.id, sop_instance_uid, sha256, j.state, j.fencing_token FROM archive_instance AS i"
        " JOIN analysis_job AS j ON j.instance_id = i.id"
    ):
        intact, copies = is_intact(system, sha256), None if delivered is None else delivered[uid]
        fields = {"job": job, "uid": uid, "sha256": sha256, "intact": intact, "state": state, "token": token}
        history.write("stored", **fields, delivered=copies)
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
            if one.get("delivered") not in (None, 1):
                yield "not delivered once", uid
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


def print_pauses(pauses: dict[str, list[float]], what: str) -> None:
    """Print the median and the worst pause of each fault."""
    print(f"\n| fault | times | {what}, median | worst |\n| --- | ---: | ---: | ---: |")
    everything = [seconds for found in pauses.values() for seconds in found]
    for name, found in [*sorted(pauses.items()), ("all", everything)]:
        print(f"| {name} | {len(found)} | {statistics.median(found):.1f} s | {max(found):.1f} s |")


def print_table(path: Path) -> int:
    """Print what became of everything; 1 if the promise was broken."""
    events = read(path)
    counts = Counter(one["event"] for one in events)
    states = Counter(one["state"] for one in events if one["event"] == "stored")
    faults = list(find_faults(events))
    rows = {"sent": counts["sent"], "acknowledged": counts["acknowledged"], "stored, hashed again": counts["stored"]}
    rows |= {"uploaded by tus": counts["uploaded"]} if counts["uploaded"] else {}
    delivered = [one["delivered"] for one in events if one.get("delivered") is not None]
    rows |= {"delivered once": delivered.count(1)} if delivered else {}
    rows |= {"claims": counts["claimed"], "results": counts["result"], "quarantined": states["quarantined"]}
    rows |= {"acknowledged and lost": 0, "more than one result": 0, **Counter(fault for fault, _ in faults)}
    for name, value in rows.items():
        print(f"| {name} | {value:,} |")
    for fault, what in faults[:20]:
        print(f"{what}: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(print_table(Path(sys.argv[1])))
