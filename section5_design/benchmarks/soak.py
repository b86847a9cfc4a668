"""Mixed traffic with faults for half an hour, and then: memory of every part flat, the ledger clean.

`python section5_design/benchmarks/soak.py 30`, the minutes. Programs send some 70 images a second over HTTP and
C-STORE. A person uploads small and large images, and files that are not DICOM, truncated, or executable, by the
portal's form. Another person opens pages, and clients disconnect in the middle of a request. Every half minute a
worker's process, or a worker, is killed, or the queues are emptied.
Web, receiver and maintenance run through, and their memory is compared: the median of the second and of the last fifth.
"""

import argparse
import contextlib
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]
os.environ["TCP_NODELAY"] = "1"

import requests  # noqa: E402

from benchmarks.history import History, Sender, read  # noqa: E402
from benchmarks.kills import kills  # noqa: E402
from benchmarks.run import megabytes  # noqa: E402
from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from people import Person, make_people  # noqa: E402
from system import System, database, instance, public_folder  # noqa: E402

FAULTS = ("worker's child killed", "worker killed", "queues purged")
EVERY, SAMPLE = 30.0, 5.0  # seconds
PACES = 0.35, 0.015  # seconds between two associations of 20 images, and between two requests of one


class Again(threading.Thread):
    """Does something again and again, and counts what came of it; what a fault makes of it is counted too."""

    def __init__(self, name: str, what: Callable[[], str], pause: float) -> None:
        super().__init__(daemon=True)
        self.title, self._what, self._pause = name, what, pause
        self.enough = threading.Event()
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        while not self.enough.wait(self._pause):
            try:
                self.counts[self._what()] += 1
            except (OSError, requests.RequestException) as error:
                self.counts[type(error).__name__] += 1


def traffic(system: System) -> list[Again]:
    """What people and machines do, good and bad."""
    make_people(system, {"ana": ["submitters"], "op": ["operators"]})
    ana, operator = Person(system, "ana"), Person(system, "op")
    good = instance()[1]
    bad = [b"no image", good[:-300], b"MZ" + good[2:], instance(Rows=0)[1], good[:200] + b"\xff" * 500]
    large: dict[str, Any] = {"NumberOfFrames": 64, "Rows": 256, "Columns": 256, "PixelData": os.urandom(1 << 23)}

    def look() -> str:
        for path in ("/", "/operations/", f"/images/{random.randint(1, 200)}/", "/audit/", "/live"):
            operator.get(path)
        return "round of pages"

    def break_off() -> str:
        with socket.create_connection(("127.0.0.1", system.http), timeout=10) as line:
            head = "POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom\r\n"
            line.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + good[:5000])
        with socket.create_connection(("127.0.0.1", system.dicom), timeout=10) as line:
            line.sendall(b"\x01\x00\x00\x00\x00\xff")
        return "broken off"

    return [
        Again("sent with the form", lambda: str(ana.send(instance()[1]).status_code), 0.5),
        Again("large images", lambda: str(ana.send(instance(**large)[1]).status_code), 10),
        Again("bad files", lambda: str(ana.send(random.choice(bad)).status_code), 1),
        Again("looked at", look, 2),
        Again("clients that disconnected", break_off, 1),
    ]


def main(minutes: float) -> int:
    print(f"Python {platform.python_version()}, {minutes:.0f} minutes", flush=True)
    random.seed(1)
    with public_folder() as folder, EmbeddedPostgres(folder / "data") as postgres:
        os.environ["DATABASE_URL"] = postgres.url
        limits = {"TASK_SECONDS": "30", "LEASE_SECONDS": "35", "MAX_CPU": "10000"}
        with database("soak") as url, System(folder / "system", url, **limits) as system:
            history = History(Path("soak.jsonl"))
            senders = [Sender(system, history, over_dicom=True), Sender(system, history)]
            senders[0].pace, senders[1].pace = PACES
            others = traffic(system)
            token = manage(system, "token", "create", "soak").stdout.strip()
            system.post = lambda content: system.ask(  # type: ignore[method-assign]
                "POST", "/dicom-web/studies", content, Content_Type="application/dicom", Authorization=f"Bearer {token}"
            )
            everybody: list[Sender | Again] = [*senders, *others]
            for one in everybody:
                one.start()
            samples, faults = run(system, postgres, minutes * 60)
            for one in everybody:
                one.enough.set()
            for one in everybody:
                one.join(120)
            system.settle()
            return report(system, history, others, samples, faults)


def run(system: System, postgres: EmbeddedPostgres, seconds: float) -> tuple[dict[str, list[float]], Counter[str]]:
    """Faults, and the memory of each part meanwhile, in MB."""
    samples: dict[str, list[float]] = {name: [] for name in system.parts}
    faults: Counter[str] = Counter()
    every = kills(system, postgres)
    ways = {name: every[name] for name in FAULTS}
    start, due = time.monotonic(), EVERY
    while (passed := time.monotonic() - start) < seconds:
        time.sleep(SAMPLE)
        for name, part in system.parts.items():
            with contextlib.suppress(Exception):
                samples[name].append(megabytes(part.pid))
        if passed > due:
            due += EVERY
            name, way = random.choice(list(ways.items()))
            way()
            faults[name] += 1
            print(f"{passed / 60:.1f} of {seconds / 60:.0f} minutes: {name}", flush=True)
    return samples, faults


def manage(system: System, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SECTION / "manage.py"), *words]
    return subprocess.run(command, env=system.environment, capture_output=True, text=True, check=False)


def report(
    system: System, history: History, others: list[Again], samples: dict[str, list[float]], faults: Counter[str]
) -> int:
    """The table; 1 where something was lost, or a part grew by more than a tenth."""
    acknowledged = {one["uid"] for one in read(history.path) if one["event"] == "acknowledged"}
    done = {uid for (uid,) in system.query("SELECT sop_instance_uid FROM archive_instance")}
    whole = manage(system, "verify")
    log = manage(system, "audit", "verify")
    traces = (system.folder / "log").read_text(errors="replace").count("Traceback")
    print("\n| | |\n| --- | ---: |")
    rows: dict[str, object] = {f"fault: {name}": times for name, times in faults.items()}
    rows |= {"sent by programs, acknowledged": len(acknowledged), "of these lost": len(acknowledged - done)}
    rows |= {one.title: ", ".join(f"{count:,} {name}" for name, count in one.counts.items()) for one in others}
    rows |= {"`manage.py verify`": whole.stdout.strip() or whole.stderr.strip()}
    rows |= {"`manage.py audit verify`": (log.stdout or log.stderr).strip().partition(";")[0], "tracebacks": traces}
    grew = False
    for name, values in samples.items():
        fifth = len(values) // 5
        early, late = statistics.median(values[fifth : 2 * fifth]), statistics.median(values[-fifth:])
        grew |= name != "worker" and late > early * 1.1 + 5
        rows[f"memory of the {name}, second and last fifth"] = f"{early:.0f} and {late:.0f} MB"
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    return 1 if acknowledged - done or whole.returncode or log.returncode or grew else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("minutes", type=float, nargs="?", default=30)
    sys.exit(main(parser.parse_args().minutes))
