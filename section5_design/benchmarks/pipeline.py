"""From the first byte to the last result: `python section5_design/benchmarks/pipeline.py`. Takes some ten minutes.

Throughput beside a bare loop of pydicom and numpy over the same files on as many processes; one worker and two; the
time from receipt to result where nothing else is to be done, and beside 10,000 analyses that run again; receiving with
1,000 and with 100,000 instances stored; the memory that an image of 2 GB takes, over C-STORE and over HTTP.
`--only workers --rounds 3` runs one part; `--many 20000` stores fewer.
"""

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]
os.environ["TCP_NODELAY"] = "1"
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"

import django  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402
import psycopg2  # noqa: E402
import pydicom  # noqa: E402
import requests  # noqa: E402

from benchmarks.run import files, megabytes, over_dicom  # noqa: E402
from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from system import System, database, instance, public_folder, until  # noqa: E402

ROUNDS = 5
COUNT = 200
MANY = 100_000
RERUNS = 10_000
PARTS = ("latency", "reruns", "throughput", "workers", "large", "stored")
LARGE = 1 << 31  # bytes of pixels


def bare(path: str) -> tuple[float, float]:
    """What the bare loop does with a file: the average before and after normalisation."""
    values = pydicom.dcmread(path).pixel_array
    return float(values.mean()), float((values / (values.max() or 1)).mean())


def same(path: str) -> int:
    """Our own analysis, with its histogram and its picture, and nothing around it."""
    from analysis.contract import Context
    from analysis.default import analyse

    with Path(path).open("rb") as file:
        return len(analyse(file, Context())[1])


def bare_loop(what: Callable[[str], object], paths: list[str], processes: int) -> float:
    """Files a second of a bare loop, its processes started before."""
    with ProcessPoolExecutor(processes, initializer=django.setup) as pool:
        list(pool.map(what, paths[: 4 * processes]))
        start = time.perf_counter()
        list(pool.map(what, paths, chunksize=8))
        return len(paths) / (time.perf_counter() - start)


def throughput(system: System, folder: Path, rounds: int) -> None:
    """First byte to last result, beside the bare loop."""
    cores = psutil.cpu_count() or 1
    ours, theirs, analysis = [], [], []
    for number in range(rounds):
        paths = files(folder / f"through-{number}", "0.5 MB", COUNT)
        theirs.append(bare_loop(bare, paths, cores))
        analysis.append(bare_loop(same, paths, cores))
        before = results(system)
        start = time.perf_counter()
        over_dicom("SECTION5", system.dicom, paths, 2)
        wait_for(system, before + COUNT)
        ours.append(COUNT / (time.perf_counter() - start))
    a, b, c = (statistics.median(rates) for rates in (ours, theirs, analysis))
    print(f"0.5 MB, first byte to last result: {a:.0f} a second", flush=True)
    print(f"  a bare loop of the averages alone: {b:.0f}, {a / b:.2f} of it", flush=True)
    print(f"  a bare loop of the whole analysis: {c:.0f}, {a / c:.2f} of it", flush=True)


def results(system: System) -> int:
    return int(system.query("SELECT count(*) FROM analysis_result")[0][0])


def wait_for(system: System, count: int) -> None:
    """Until there are as many results; asked for over one connection, which costs the machine next to nothing."""
    with contextlib.closing(psycopg2.connect(system.database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        there = 0
        while there < count:
            time.sleep(0.05)
            cursor.execute("SELECT count(*) FROM analysis_result")
            there = int(cursor.fetchone()[0])


def measure_latency(system: System, count: int) -> list[float]:
    """Return the seconds from receipt to result, one image at a time, in ascending order."""
    seconds = []
    for _ in range(count):
        uid, content = instance()
        system.post(content)
        system.wait_for(uid)
        found = system.query(
            "SELECT extract(epoch FROM r.at - i.received_at) FROM analysis_result AS r"
            " JOIN archive_instance AS i ON i.id = r.instance_id WHERE sop_instance_uid = %s",
            uid,
        )
        seconds.append(float(found[0][0]))
    return sorted(seconds)


def latency(system: System) -> None:
    """Receipt to result, one at a time."""
    print(
        f"Receipt to result without load: median {statistics.median(measure_latency(system, 50)):.3f} s of 50",
        flush=True,
    )


def reruns(system: System, folder: Path, count: int) -> None:
    """Receipt to result while the default analysis runs again on stored images, beside nothing to be done."""
    over_dicom("SECTION5", system.dicom, files(folder / "reruns", "39 kB", count), 4)
    until(lambda: system.query("SELECT count(*) FROM jobs_job WHERE state IN ('queued', 'running')") == [(0,)], 900)
    idle = measure_latency(system, 100)
    command = [sys.executable, str(SECTION / "manage.py"), "analysis", "run", "default", "--all"]
    subprocess.run(command, env=system.environment, check=True, capture_output=True)
    beside = measure_latency(system, 100)
    ((left,),) = system.query("SELECT count(*) FROM jobs_job WHERE state = 'queued'")
    print(f"Receipt to result beside {count:,} re-runs, of which {left:,} were left:", end=" ")
    print(f"95 % within {beside[94]:.3f} s; with nothing to be done {idle[94]:.3f}: {beside[94] / idle[94]:.2f} times")


def workers(system: System, folder: Path, rounds: int) -> None:
    """Jobs a second of one worker with one process, and of two."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for count in rates:
            over_dicom("SECTION5", system.dicom, files(folder / f"workers-{number}-{count}", "0.5 MB", COUNT), 2)
            before = results(system)
            command = [sys.executable, str(SECTION / "main.py"), "worker", "--processes", "1"]
            running = [
                subprocess.Popen(command, env=system.environment, stdout=system.log, stderr=system.log)
                for _ in range(count)
            ]
            wait_for(system, before + COUNT)
            ((seconds,),) = system.query(
                "SELECT extract(epoch FROM max(at) - min(at)) FROM (SELECT at FROM analysis_result"
                " ORDER BY at DESC LIMIT %s) AS last",
                COUNT - 20 * count,  # when all of them are at work
            )
            rates[count].append((COUNT - 20 * count - 1) / float(seconds))
            for worker in running:
                worker.terminate()
            for worker in running:
                worker.wait()
    one, two = statistics.median(rates[1]), statistics.median(rates[2])
    print(f"One worker {one:.0f} jobs a second, two {two:.0f}: {two / one:.2f} times", flush=True)


def large(system: System, folder: Path) -> None:
    """Memory of the receiver's and of the web's processes while they receive an image of 2 GB."""
    frame: dict[str, Any] = {"Rows": 512, "Columns": 512, "NumberOfFrames": LARGE >> 19, "PixelData": b"\0\0"}
    path = folder / "large.dcm"

    def send_over_http() -> None:
        address = f"http://127.0.0.1:{system.http}/dicom-web/studies"
        with path.open("rb") as file:
            requests.post(address, file, headers={"Content-Type": "application/dicom"}, timeout=600).raise_for_status()

    ways: dict[str, tuple[str, Callable[[], object]]] = {
        "C-STORE": ("receiver", lambda: over_dicom("SECTION5", system.dicom, [str(path)], 1)),
        "HTTP": ("web", send_over_http),
    }
    for way, (part, send) in ways.items():
        start_of_pixels = b"\xe0\x7f\x10\0OW\0\0"  # PS3.5, 7.1.2: tag and VR, in front of the length
        header, tag, _ = instance(**frame)[1].partition(start_of_pixels)
        path.write_bytes(header + tag + LARGE.to_bytes(4, "little"))
        os.truncate(path, path.stat().st_size + LARGE)
        pid = system.parts[part].pid
        before = peak = megabytes(pid)
        with ThreadPoolExecutor(1) as pool:
            start = time.perf_counter()
            sent = pool.submit(send)
            while not sent.done():
                peak = max(peak, megabytes(pid))
                time.sleep(0.1)
            sent.result()
            seconds = time.perf_counter() - start
        print(
            f"2 GB over {way} in {seconds:.1f} s: the {part} held {before:.0f} MB before, at most {peak:.0f}",
            flush=True,
        )


def stored(system: System, folder: Path, rounds: int, many: int) -> None:
    """Receiving with few and with many instances stored, and their results."""
    rates = []
    for there in (1_000, many):
        fill(system, there)
        batches = [files(folder / f"stored-{there}-{number}", "39 kB", COUNT) for number in range(rounds)]
        rates.append(statistics.median(COUNT / over_dicom("SECTION5", system.dicom, paths, 2) for paths in batches))
    few, much = rates
    print(f"Receiving with 1,000 stored {few:.0f} a second, with {many:,} {much:.0f}: {much / few:.2f}", flush=True)


def fill(system: System, many: int) -> None:
    """As many instances."""
    code = (
        "import sys, django; django.setup()\n"
        "from ingest.store import Sender, store_instance; from ingest.incoming import incoming_file\n"
        "from system import instance\n"
        "for _ in range(int(sys.argv[1])):\n"
        "    with incoming_file() as file:\n"
        "        file.write(instance()[1]); store_instance(file, Sender('folder:fill'))\n"
    )
    ((there,),) = system.query("SELECT count(*) FROM archive_instance")
    path = os.pathsep.join((str(SECTION), str(SECTION / "tests")))
    environment = system.environment | {"PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "config.settings"}
    half = max(0, many - int(there)) // 2
    running = [subprocess.Popen([sys.executable, "-c", code, str(half)], env=environment) for _ in range(2)]
    if any(process.wait() for process in running):
        sys.exit("filling failed")


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    parser.add_argument("--many", type=int, default=MANY, metavar="N", help=f"instances to store; default: {MANY:,}")
    arguments = parser.parse_args()
    System.web_processes = 2
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, {psutil.cpu_count()} cores;"
        f" medians of {arguments.rounds}"
    )
    with public_folder() as folder, EmbeddedPostgres(folder / "data") as postgres:
        os.environ["DATABASE_URL"] = postgres.url
        with database("pipeline") as url, System(folder / "system", url, MAX_CPU="10000") as system:
            if "latency" in arguments.only:
                latency(system)
            if "reruns" in arguments.only:
                reruns(system, folder, min(RERUNS, arguments.many))
            if "throughput" in arguments.only:
                throughput(system, folder, arguments.rounds)
            system.kill("worker")
            if "workers" in arguments.only:
                workers(system, folder, arguments.rounds)
            system.kill("maintenance")
            if "large" in arguments.only:
                large(system, folder)
            if "stored" in arguments.only:
                stored(system, folder, arguments.rounds, arguments.many)


if __name__ == "__main__":
    main()
