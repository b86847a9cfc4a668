"""Kill Orthanc while instances are sent to it, again and again, and count: `python benchmarks/delivery_kills.py 200`.

The complete system runs on a separate PostgreSQL; every tenth time a worker is killed as well. Images arrive over
HTTP all the while and go to Orthanc by a rule. Lost and doubled must be 0.
"""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.client import HTTPException
from pathlib import Path

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]

from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from orthanc import Orthanc  # noqa: E402
from system import System, database, instance, until  # noqa: E402

LIMITS = {"TASK_SECONDS": "30", "LEASE_SECONDS": "35"}
DELIVERED = "SELECT count(*) FROM delivery_delivery WHERE delivered_at IS NOT NULL"
UNFINISHED = "SELECT count(*) FROM jobs_job WHERE state IN ('queued', 'running')"
SETTLING = 900.0  # seconds
BACKLOG = 60  # jobs


def main(times: int, seed: int) -> int:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "system").mkdir()
        postgres = EmbeddedPostgres(folder / "postgres")
        postgres.start()
        os.environ["DATABASE_URL"] = postgres.url
        try:
            with (
                database("delivery_kills") as url,
                System(folder / "system", url, **LIMITS) as system,
                Orthanc(folder / "pacs") as orthanc,
            ):
                return run(system, orthanc, times, chance)
        finally:
            postgres.stop()


def run(system: System, orthanc: Orthanc, times: int, chance: random.Random) -> int:
    """Send and kill; 1 where something is lost or doubled."""
    manage(system, "delivery", "to", "pacs", "--dicom", "ORTHANC", "127.0.0.1", str(orthanc.dicom))
    manage(system, "delivery", "rule", "pacs")
    enough = threading.Event()
    sender = threading.Thread(target=send, args=(system, enough))
    sender.start()
    try:
        for number in range(times):
            before = count(system, DELIVERED)
            until(lambda before=before: count(system, DELIVERED) > before)
            time.sleep(chance.uniform(0, 0.3))
            orthanc.kill()
            if number % 10 == 9:
                system.kill("worker")
                system.start("worker")
            orthanc.start()
            if number % 20 == 19:
                print(f"{number + 1} of {times} kills", flush=True)
    finally:
        enough.set()
        sender.join()
    until(lambda: count(system, UNFINISHED) == 0, SETTLING)
    return ledger(system, orthanc, times)


def send(system: System, enough: threading.Event) -> None:
    """Send images until it is enough, and no faster than they are processed."""
    while not enough.wait(0.02):
        try:
            if count(system, UNFINISHED) < BACKLOG:
                system.post(instance()[1])
        except (OSError, HTTPException):
            enough.wait(0.1)


def ledger(system: System, orthanc: Orthanc, times: int) -> int:
    """Print what became of everything."""
    stored = {uid for (uid,) in system.query("SELECT sop_instance_uid FROM archive_instance")}
    there = Counter(orthanc.instances())
    lost, doubled = stored - set(there), [uid for uid, copies in there.items() if copies > 1]
    attempts = count(system, "SELECT sum(attempts) FROM jobs_job WHERE kind = 'delivery'")
    print("| | |\n| --- | ---: |")
    rows = {
        "Orthanc killed": times,
        "worker killed": times // 10,
        "stored": len(stored),
        "delivered": count(system, DELIVERED),
    }
    for label, value in (rows | {"attempts": attempts, "lost": len(lost), "doubled": len(doubled)}).items():
        print(f"| {label} | {value:,} |")
    return 1 if lost or doubled else 0


def count(system: System, statement: str) -> int:
    return int(system.query(statement)[0][0])


def manage(system: System, *arguments: str) -> None:
    subprocess.run([sys.executable, str(SECTION / "manage.py"), *arguments], env=system.environment, check=True)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
