"""Kill what can be killed, again and again, under load, and then count: `python benchmarks/kills.py 200`.

The parts run on a PostgreSQL of their own, which is killed too; BROKER_URL names a RabbitMQ, else Celery's filesystem
transport serves. Clients send over HTTP and over C-STORE all the while. What was sent, acknowledged, claimed and
finished is written to kills.jsonl, and checked against the promise (history.py).
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]

import psutil  # noqa: E402
import psycopg2  # noqa: E402

from benchmarks.history import History, collect, print_table, sending  # noqa: E402
from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from system import System, database, family, listens, public_folder, until  # noqa: E402

CLIENTS = 3
LIMITS = {"TASK_SECONDS": "10", "LEASE_SECONDS": "12"}
SETTLING = 180.0  # seconds


def kills(system: System, postgres: EmbeddedPostgres) -> dict[str, Callable[[], None]]:
    """What can happen, by name."""

    def part(name: str) -> Callable[[], None]:
        def kill() -> None:
            system.kill(name)
            system.start(name)

        return kill

    def child() -> None:
        worker = system.parts["worker"].pid  # which has no children while it starts, and nothing would restart it
        leaves = [process for process in family(worker) if process.pid != worker and not process.children()]
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

    def stopped_worker() -> None:
        """A worker that is stopped for longer than its lease, and goes on while another has its jobs."""
        processes = family(system.parts["worker"].pid)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        system.start("worker")
        time.sleep(int(LIMITS["LEASE_SECONDS"]) + 2)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        with contextlib.suppress(psutil.NoSuchProcess):
            processes[-1].terminate()

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

    named = {f"{name} killed": part(name) for name in ("web", "receiver", "worker", "maintenance")}
    return {
        **named,
        "worker's child killed": child,
        "worker stopped past its leases": stopped_worker,
        "PostgreSQL killed": database_server,
        "every part killed": all_parts,
        "queues purged": purge,
    }


def main(count: int, seed: int) -> int:
    random.seed(seed)
    with public_folder() as folder, EmbeddedPostgres(folder / "data") as postgres:
        os.environ["DATABASE_URL"] = postgres.url
        with database("kills") as url, System(folder / "system", url, **LIMITS) as system:
            history = History(Path("kills.jsonl"))
            with sending(system, history, CLIENTS):
                done = kill_again_and_again(count, system, postgres)
            until(lambda: listens(system.http), SETTLING)
            started = time.monotonic()
            with contextlib.suppress(AssertionError):
                until(lambda: unfinished(system) == 0, SETTLING)
            print(f"quiet {time.monotonic() - started:.0f} seconds after the last one\n")
            for name, part in system.parts.items():
                if part.poll() is not None:
                    print(f"{name} ended by itself: {part.returncode}")
            collect(system, history)
            print("| | |\n| --- | ---: |")
            for kind, times in done.most_common():
                print(f"| {kind} | {times} |")
            return print_table(history.path)


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kills", type=int, nargs="?", default=20)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    options = parser.parse_args()
    sys.exit(main(options.kills, options.seed))
