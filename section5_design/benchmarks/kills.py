"""Kill what can be killed, again and again, under load, and then count: `python benchmarks/kills.py 200`.

The parts run on a PostgreSQL of their own, which is killed too; BROKER_URL names a RabbitMQ, else Celery's filesystem
transport serves. Clients send over HTTP and over C-STORE all the while and remember what was acknowledged. Afterwards
the ledger is printed; lost and doubled must be 0.
"""

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]

import psutil  # noqa: E402
import psycopg2  # noqa: E402

from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from system import System, database, family, instance, listens, until  # noqa: E402

CLIENTS = 3
LIMITS = {"TASK_SECONDS": "10", "LEASE_SECONDS": "12"}
SETTLING = 180.0  # seconds


class Sender(threading.Thread):
    """Sends new instances one after the other; `acknowledged` are those of which the system said that it has them."""

    def __init__(self, system: System, *, over_dicom: bool) -> None:
        super().__init__(daemon=True)
        self._system, self._over_dicom = system, over_dicom
        self.enough = threading.Event()
        self.sent: dict[str, str] = {}
        self.acknowledged: set[str] = set()

    def run(self) -> None:
        while not self.enough.is_set():
            uid, content = instance()
            # Over C-STORE the sender writes the data set anew, so its bytes are its own.
            self.sent[uid] = "" if self._over_dicom else hashlib.sha256(content).hexdigest()
            try:
                taken = self._store(content) if self._over_dicom else self._system.post(content).status == 200
            except (OSError, HTTPException):
                taken = False
            if taken:
                self.acknowledged.add(uid)
            else:
                self.enough.wait(0.1)

    def _store(self, content: bytes) -> bool:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            command = ["storescu", "-to", "5", "-aec", "SECTION5", "localhost", str(self._system.dicom), file.name]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0


def kills(system: System, postgres: EmbeddedPostgres) -> dict[str, Callable[[], None]]:
    """What can happen, by name."""

    def part(name: str) -> Callable[[], None]:
        def kill() -> None:
            system.kill(name)
            system.start(name)

        return kill

    def child() -> None:
        leaves = [process for process in family(system.parts["worker"].pid) if not process.children()]
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            random.choice(leaves).kill()

    def database_server() -> None:
        pid = int((postgres.folder / "postgresql" / "postmaster.pid").read_text().split()[0])
        everyone = [psutil.Process(pid), *psutil.Process(pid).children()]
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(everyone, timeout=10)
        postgres.stop()
        postgres.start()

    def all_parts() -> None:
        for name in list(system.parts):
            system.kill(name)
        for name in list(system.parts):
            system.start(name)

    def purge() -> None:
        code = (
            "from config.celery import app\n"
            "with app.connection() as c:\n"
            "  for name in ('jobs-small', 'jobs-large'): c.default_channel.queue_purge(name)"
        )
        command = [sys.executable, "-c", code]
        subprocess.run(command, cwd=SECTION, env=system.environment, capture_output=True, check=False)

    named = {name: part(name) for name in ("web", "receiver", "worker", "maintenance")}
    return {
        **named,
        "worker's child": child,
        "PostgreSQL": database_server,
        "every part": all_parts,
        "queues purged": purge,
    }


def main(count: int, seed: int) -> int:
    random.seed(seed)
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "data") as postgres:
        Path(name).chmod(0o755)
        os.environ["DATABASE_URL"] = postgres.url
        with database("kills") as url, System(Path(tempfile.mkdtemp(dir=name)), url, **LIMITS) as system:
            senders = [Sender(system, over_dicom=number == 0) for number in range(CLIENTS)]
            for sender in senders:
                sender.start()
            done = kill_again_and_again(count, system, postgres)
            for sender in senders:
                sender.enough.set()
            for sender in senders:
                sender.join()
            until(lambda: listens(system.http), SETTLING)
            started = time.monotonic()
            with contextlib.suppress(AssertionError):
                until(lambda: unfinished(system) == 0, SETTLING)
            print(f"quiet {time.monotonic() - started:.0f} seconds after the last one\n")
            return ledger(system, senders, done)


def kill_again_and_again(count: int, system: System, postgres: EmbeddedPostgres) -> Counter[str]:
    done: Counter[str] = Counter()
    ways = kills(system, postgres)
    for number in range(1, count + 1):
        time.sleep(random.uniform(0.1, 0.8))
        name = random.choice(list(ways))
        ways[name]()
        done[name] += 1
        if number % 20 == 0:
            print(f"{number} of {count} kills", flush=True)
    return done


def unfinished(system: System) -> int:
    try:
        return int(system.query("SELECT count(*) FROM analysis_job WHERE state IN ('queued', 'running')")[0][0])
    except psycopg2.OperationalError:
        return 1


def ledger(system: System, senders: list[Sender], done: Counter[str]) -> int:
    """Print what became of everything; 1 where something is lost or doubled."""
    sent = {uid: sha for sender in senders for uid, sha in sender.sent.items()}
    acknowledged = {uid for sender in senders for uid in sender.acknowledged}
    rows = system.query(
        "SELECT sop_instance_uid, sha256, j.state, count(r.instance_id) FROM archive_instance AS i"
        " JOIN analysis_job AS j ON j.instance_id = i.id"
        " LEFT JOIN analysis_result AS r ON r.instance_id = i.id AND NOT superseded"
        " GROUP BY 1, 2, 3"
    )
    whole = set()
    for uid, sha, _, _ in rows:
        path = system.folder / "store" / "objects" / sha[:2] / sha
        as_sent = sent.get(uid) in ("", sha)
        if as_sent and path.exists() and hashlib.sha256(system.unsealed(path.read_bytes())).hexdigest() == sha:
            whole.add(uid)
    has_result = {uid for uid, _, _, results in rows if results == 1}
    quarantined = {uid for uid, _, state, _ in rows if state == "quarantined"}
    lost = acknowledged - (whole & (has_result | quarantined))
    doubled = {uid for uid, _, _, results in rows if results > 1} | {
        uid for uid, times in Counter(row[0] for row in rows).items() if times > 1
    }
    print("| | |\n| --- | ---: |")
    for name, times in done.most_common():
        print(f"| {name} killed | {times} |" if name != "queues purged" else f"| queues purged | {times} |")
    for name, value in {
        "sent": len(sent),
        "acknowledged": len(acknowledged),
        "stored, re-hashed": len(whole),
        "results": len(has_result),
        "quarantined": len(quarantined),
        "lost": len(lost),
        "doubled": len(doubled),
    }.items():
        print(f"| {name} | {value} |")
    return 1 if lost or doubled else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
