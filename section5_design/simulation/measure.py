"""Measure the running system for the model, and validate the model: `python section5_design/simulation/measure.py`.

Takes some 10 minutes and writes measured.json; `--only standby` measures one part again. Needs RabbitMQ's server
program (Debian: rabbitmq-server); starts a separate RabbitMQ and a separate PostgreSQL. The check: an analysis of
random duration (mean 0.25 s), 1 and 2 workers of one process, two loads; the model is given the arrivals and service
times measured, and must find the throughput and the median wait. The headers claim large images, which are claimed one
at a time: the times of jobs that are claimed together overlap. Then the limits of each part by itself, which say what
breaks first, and what a synchronous standby costs.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]
os.environ["TCP_NODELAY"] = "1"

import psutil  # noqa: E402

from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from simulation.model import Job, Model, Site, percentile  # noqa: E402
from standby_server import Standby  # noqa: E402
from system import System, administer, database, instance  # noqa: E402
from test_outages import rabbitmq  # noqa: E402

COUNT = 240
LOADS = (0.7, 0.85)
MEAN = 0.25  # seconds, of the analysis of random duration
LARGE: dict[str, Any] = {"Rows": 20_000, "Columns": 20_000}
ROUNDS = 5
SLOW = """
import hashlib, math, random, time
def analyse(file, context):
    chance = random.Random(hashlib.sha256(file.read()).hexdigest())
    time.sleep(chance.lognormvariate(math.log({mean}) - 0.32, 0.8))
    return {{}}, b""
"""
TIMES = """
    SELECT extract(epoch FROM i.received_at), extract(epoch FROM a.started_at), extract(epoch FROM a.at)
    FROM jobs_attempt AS a JOIN analysis_job AS j ON j.id = job_id
    JOIN archive_instance AS i ON i.id = instance_id
    WHERE a.outcome = 'done' ORDER BY i.received_at
"""
Times = list[tuple[float, float, float]]


def times(system: System) -> Times:
    """Return when each job was received, started and finished."""
    return [(float(a), float(b), float(c)) for a, b, c in system.query(TIMES)]


def send_at(system: System, moments: list[float]) -> None:
    """Send an image at each moment, without waiting for earlier responses."""
    contents = [instance(**LARGE)[1] for _ in moments]
    start = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        for moment, content in zip(moments, contents, strict=True):
            time.sleep(max(0.0, start + moment - time.monotonic()))
            pool.submit(system.post, content)


def gaps(found: Times) -> list[float]:
    """Return the delays from the end of a job to the next start on the same worker."""
    ends = sorted(ended for _, _, ended in found)
    begins = [begun for _, begun, _ in found]
    later = [min((begun - ended for begun in begins if begun > ended), default=None) for ended in ends]
    return [gap for gap in later if gap is not None]


def check(folder: Path, broker: str, workers: int, load: float) -> dict[str, Any]:
    """Run the system, and the model with the same arrivals and service times."""
    place = folder / f"check-{workers}-{load}"
    place.mkdir()
    (place / "slow.py").write_text(SLOW.format(mean=MEAN))
    settings = {"ANALYSIS": "slow.analyse", "PYTHONPATH": str(place), "BROKER_URL": broker, "MAX_CPU": "10000"}
    with database(f"check_{workers}_{int(load * 10)}") as url, System(place, url, **settings) as system:
        system.kill("worker")
        command = [sys.executable, str(SECTION / "main.py"), "worker", "--processes", "1"]
        running = [
            subprocess.Popen(command, env=system.environment, stdout=system.log, stderr=system.log)
            for _ in range(workers)
        ]
        for _ in range(6):  # one after the other: the delay between receipt and start
            uid, content = instance(**LARGE)
            system.post(content)
            system.wait_for(uid)
        overhead = statistics.median(begun - received for received, begun, _ in times(system)[1:])
        send_at(system, [number * 0.05 for number in range(20 * workers)])  # faster than they are processed
        system.settle()
        turnaround = statistics.median(gaps(times(system)[6:]))
        before = len(times(system))
        chance = random.Random(7)
        moments, now = [], 0.0
        for _ in range(COUNT):
            moments.append(now := now + chance.expovariate(load * workers / MEAN))
        send_at(system, moments)
        system.settle()
        found = times(system)[before:]
        for worker in running:
            worker.terminate()
        for worker in running:
            worker.wait()
    start = found[0][0]
    jobs = [Job(received - start, ended - begun) for received, begun, ended in found]
    model = Model(Site(workers, overhead=overhead, turnaround=turnaround)).run(jobs)
    wait = {
        "system": statistics.median(b - a for a, b, _ in found),
        "model": statistics.median(j.waited for j in model),
    }
    last = {"system": max(c for _, _, c in found) - start, "model": max(job.ended for job in model)}
    told = {"workers": workers, "load": load, "overhead": overhead, "turnaround": turnaround, "median_wait": wait}
    told["throughput"] = {name: len(found) / seconds for name, seconds in last.items()}
    print(json.dumps(told), flush=True)
    return told


def service_times(folder: Path, broker: str) -> dict[str, Any]:
    """Measure the default analysis, one job at a time: small (0.5 MB) and large (128 MB of pixels) images."""
    place = folder / "service"
    place.mkdir()
    with database("service") as url, System(place, url, BROKER_URL=broker, MAX_CPU="10000") as system:
        told = {}
        kinds: dict[str, dict[str, Any]] = {"small": {"Rows": 512, "Columns": 512, "PixelData": os.urandom(1 << 19)}}
        kinds["large"] = {"Rows": 512, "Columns": 512, "NumberOfFrames": 256, "PixelData": os.urandom(1 << 27)}
        for name, changes in kinds.items():
            count = 100 if name == "small" else 12
            before = len(times(system))
            for _ in range(count):
                uid, content = instance(**changes)
                system.post(content)
                system.wait_for(uid)
            taken = sorted(ended - begun for _, begun, ended in times(system)[before:])
            told[name] = [round(percentile(taken, share / 20), 4) for share in range(20)]
            print(name, "median", statistics.median(taken), flush=True)
        return told


def limits(folder: Path, broker: str) -> dict[str, float]:
    """Measure the rate of each component alone on this machine."""
    place = folder / "limits"
    place.mkdir()
    found: dict[str, float] = {}
    with database("limits") as url:
        for name, code in LIMITS.items():
            rates = [rate(code, DATABASE_URL=url, DATA_FOLDER=str(place), BROKER_URL=broker) for _ in range(ROUNDS)]
            found[name] = round(statistics.median(rates), 1)
            print(name, found[name], flush=True)
    return found


def rate(code: str, **environment: str) -> float:
    """Run a program of LIMITS, and return the rate that it prints."""
    environment |= {"DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONPATH": f"{SECTION}:{SECTION / 'tests'}"}
    command = [sys.executable, "-c", COMMON + code]
    settings = os.environ | environment
    done = subprocess.run(command, cwd=SECTION, env=settings, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def standby_cost(folder: Path) -> dict[str, float]:
    """Measure how many instances a primary records, alone and with a synchronous standby, in turns."""
    rates: dict[str, list[float]] = {"alone": [], "with a synchronous standby": []}
    place = folder / "standby"
    place.mkdir(mode=0o755)
    with (
        EmbeddedPostgres(place / "primary") as primary,
        Standby(place / "standby", primary),
        patch.dict(os.environ, DATABASE_URL=primary.url),
        database("standby") as url,
    ):
        for _ in range(ROUNDS):
            for kind, name in zip(rates, ("", "*"), strict=True):
                administer(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
                administer("SELECT pg_reload_conf()")
                code = LIMITS["database, instances recorded"]
                rates[kind].append(rate(code, DATABASE_URL=url, DATA_FOLDER=str(place)))
    found = {kind: round(statistics.median(values), 1) for kind, values in rates.items()}
    print(json.dumps(found), flush=True)
    return found


COMMON = """
import os, threading, time, django; django.setup()
from concurrent.futures import ThreadPoolExecutor
from django.db import connection
from system import instance
def at_once(what, count, threads=4):
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(what, range(count)))
    return count / (time.perf_counter() - start)
"""
LIMITS = {
    # Rows of an instance, its job and its audit event: one transaction each, on four connections.
    "database, instances recorded": """
from django.db import transaction
from ingest.store import Header, Sender, record
from pydicom.uid import generate_uid
def one(_):
    header = Header(generate_uid(), "1.2", "1.2", "1.2.3", "1.2.3.4", 1)
    with transaction.atomic(), connection.cursor() as cursor:
        record(header, os.urandom(32).hex(), 1, Sender("folder:limit"), cursor=cursor)
one(0)
print(at_once(one, 2000))
""",
    # A claim, and a finish with result, attempt and audit event: two transactions, on four connections.
    "database, jobs claimed and ended": """
from django.db import transaction
from ingest.store import Header, Sender, record
from jobs.queue import claim
from jobs.tasks import save_results
from pydicom.uid import generate_uid
for _ in range(1200):
    header = Header(generate_uid(), "1.2", "1.2", "1.2.3", "1.2.3.4", 1)
    with transaction.atomic(), connection.cursor() as cursor:
        record(header, os.urandom(32).hex(), 1, Sender("folder:limit"), cursor=cursor)
def one(_):
    (lease,) = claim("small", 1, "limit")
    save_results([(lease, ({"average": 1.0, "histogram": [0] * 256}, ""))])
print(at_once(one, 1200))
""",
    # Encrypted, hashed, synced and renamed, 0.5 MB each, by four threads.
    "storage, objects of 0.5 MB made safe": """
from archive.spool import spool_file
from archive.object_store import store, object_key
content = os.urandom(1 << 19)
def one(_):
    with spool_file() as file:
        file.write(content); file.commit(); store().put(file.path, object_key(os.urandom(32).hex()))
one(0)
print(at_once(one, 300))
""",
    # Published to a quorum queue, consumed and acknowledged, over one connection.
    "broker, messages through": """
from config.celery import app, declare_queue
with app.connection_for_write() as c:
    q = declare_queue("limit").bind(c.default_channel); q.declare()
    producer = c.Producer(); start = time.perf_counter()
    for n in range(3000):
        producer.publish([n], routing_key="limit", exchange="limit")
        while not (message := q.get()): pass
        message.ack()
    print(3000 / (time.perf_counter() - start))
    q.delete()
""",
    # Audit events linked by the chainer.
    "log, lines linked": """
from audit.chain import extend_chain
from audit.events import Subject, record_event
for n in range(3000): record_event("viewed", "user:limit", subject=Subject(instance_id=n))
start = time.perf_counter(); count = 0
while done := extend_chain(include_late=True): count += done
print(count / (time.perf_counter() - start))
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=["standby"], help="measure this part again, and keep the others")
    measured = SECTION / "simulation" / "measured.json"
    if parser.parse_args().only:
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            document = json.loads(measured.read_text()) | {"standby": standby_cost(Path(name))}
        measured.write_text(json.dumps(document, indent=1) + "\n")
        return
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "data") as postgres:
        for folder in (Path(name), Path(name) / "mq"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        os.environ["DATABASE_URL"] = postgres.url
        with rabbitmq(Path(name) / "mq") as (broker, _, _):
            told: dict[str, Any] = {"machine": f"{psutil.cpu_count()} cores, Python {platform.python_version()}"}
            told["limits"] = limits(Path(name), broker)
            told["service"] = service_times(Path(name), broker)
            told["checks"] = [check(Path(name), broker, workers, load) for workers in (1, 2) for load in LOADS]
            told["standby"] = standby_cost(Path(name))
    measured.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
