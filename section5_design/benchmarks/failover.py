"""Lose database servers, networks and etcd members under load, and count: `python benchmarks/failover.py 100`.

A hundred faults on three PostgreSQL servers with Patroni and three etcd members, each in a network namespace (root
only), as deploy/patroni.yml configures them, while clients send over C-STORE, STOW-RS and tus, workers analyse, and
every image is delivered to Orthanc. In the end every acknowledged image must be stored and delivered, every receipt
valid, and the audit log whole. `--asynchronous` is the control: the same with asynchronous replication,
where the primary is cut off from its standbys and then lost; it must lose what was acknowledged meanwhile. The history
is in failover.jsonl (see history.py).
"""

import argparse
import contextlib
import itertools
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]

from benchmarks.history import (  # noqa: E402
    Event,
    History,
    Uploader,
    collect,
    find_faults,
    print_pauses,
    print_table,
    sending,
)
from cluster import MEMBERS, Cluster  # noqa: E402
from orthanc import Orthanc  # noqa: E402
from people import Person, make_people  # noqa: E402
from system import System, until  # noqa: E402

CLIENTS = 3
PACE = 0.2  # seconds between two images of a client, so that analyses and deliveries keep up
LIMITS = {"TASK_SECONDS": "10", "LEASE_SECONDS": "12", "MAX_ATTEMPTS": "9"}
ASYNCHRONOUS = {"synchronous_mode": False, "synchronous_mode_strict": False, "maximum_lag_on_failover": 1 << 30}
HELD = 15.0  # seconds that a fault lasts which nothing but its end can help
OUTLASTING = 30.0  # seconds, longer than Patroni's ttl
PATIENCE = 240.0  # seconds
SETTLING = 900.0  # seconds
Fault = Callable[[], Callable[[], None]]  # does it, and returns what ends it


def build_faults(cluster: Cluster) -> dict[str, Fault]:
    def kill_postgresql() -> Callable[[], None]:
        cluster.kill_postgresql(cluster.primary())
        return lambda: None

    def lose(name: str, *, disk: bool) -> Callable[[], None]:
        cluster.kill(name)
        if disk:
            cluster.remove_data(name)
        return lambda: cluster.start(name)

    def cut_off() -> Callable[[], None]:
        name = cluster.primary()
        cluster.cut(name)
        return lambda: cluster.mend(name)

    def cut_off_from_etcd() -> Callable[[], None]:
        name, members = cluster.primary(), [f"etcd{number}" for number in MEMBERS]
        cluster.cut_from(name, *members)
        time.sleep(OUTLASTING)
        return lambda: cluster.mend_from(name, *members)

    def cut_off_from_clients() -> Callable[[], None]:
        name = cluster.primary()
        cluster.cut_from(name)
        time.sleep(HELD)
        cluster.mend_from(name)
        return lambda: None

    def lose_etcd_quorum() -> Callable[[], None]:
        lost = random.sample([f"etcd{number}" for number in MEMBERS], 2)
        for name in lost:
            cluster.kill(name)
        time.sleep(OUTLASTING)
        for name in lost:
            cluster.start(name)
        return lambda: None

    def restart_each() -> Callable[[], None]:
        for name in [*(f"etcd{number}" for number in MEMBERS), *cluster.standbys(), cluster.primary()]:
            cluster.stop(name)
            cluster.start(name)
            until(cluster.is_whole, PATIENCE)
        return lambda: None

    return {
        "every server restarted, one after the other, as an upgrade does": restart_each,
        "primary's PostgreSQL, kill -9": kill_postgresql,
        "primary's server, kill -9": lambda: lose(cluster.primary(), disk=False),
        "primary's server with its data folder": lambda: lose(cluster.primary(), disk=True),
        "primary cut off from all": cut_off,
        f"primary cut off from etcd for {OUTLASTING:.0f} s": cut_off_from_etcd,
        f"primary cut off from the clients for {HELD:.0f} s": cut_off_from_clients,
        "synchronous standby, kill -9": lambda: lose(cluster.standbys("sync")[0], disk=False),
        f"etcd without quorum for {OUTLASTING:.0f} s": lose_etcd_quorum,
        "primary cut off from its standbys, then lost with its data": lambda: lose_ahead_of_standbys(cluster),
    }


def lose_ahead_of_standbys(cluster: Cluster) -> Callable[[], None]:
    """Cut the primary off from its standbys, let it work on for some seconds, and lose it with its disk."""
    name, standbys = cluster.primary(), cluster.standbys()
    cluster.cut_from(name, *standbys)
    time.sleep(5)
    cluster.kill(name)
    cluster.remove_data(name)

    def end() -> None:
        cluster.mend_from(name, *standbys)
        cluster.start(name)

    return end


def wait_for_acknowledgements(history: History, since: float) -> None:
    """Wait until something is acknowledged that was sent after a moment."""

    def accepted() -> bool:
        events = list(itertools.takewhile(lambda one: one["at"] > since, reversed(history.events)))
        sent = {one["uid"] for one in events if one["event"] == "sent"}
        return any(one["event"] == "acknowledged" and one["uid"] in sent for one in events)

    until(accepted, PATIENCE)


def run_faults(cluster: Cluster, history: History, faults: dict[str, Fault], count: int) -> None:
    """Do one fault after the other, each kind once before any comes again; each ends before the next begins."""
    names: list[str] = []
    for number in range(1, count + 1):
        names = names or random.sample(list(faults), len(faults))
        name = names.pop()
        history.write("fault", name=name)
        finish = faults[name]()
        wait_for_acknowledgements(history, time.time())
        finish()
        until(cluster.is_whole, PATIENCE)
        wait_for_acknowledgements(history, time.time())
        history.write("over")
        print(f"{time.strftime('%H:%M:%S')} {number} of {count}: {name}", flush=True)
        time.sleep(random.uniform(0, 2))


def measure_pauses(events: list[Event]) -> dict[str, list[float]]:
    """The longest time without an acknowledgement of each fault, by its name."""
    pauses: dict[str, list[float]] = defaultdict(list)
    name, last, longest = "", 0.0, 0.0
    for one in events:
        if one["event"] == "fault":
            name, longest, last = one["name"], 0.0, one["at"]
        elif one["event"] == "acknowledged":
            longest, last = max(longest, one["at"] - last), one["at"]
        elif one["event"] == "over":
            pauses[name].append(longest)
    return pauses


def deliver_to(system: System, orthanc: Orthanc) -> None:
    """Let every image that is received be sent to Orthanc."""
    manage(system, "delivery", "to", "pacs", "--dicom", "ORTHANC", "127.0.0.1", str(orthanc.dicom))
    manage(system, "delivery", "rule", "pacs")


def manage(system: System, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of manage.py."""
    command = [sys.executable, str(SECTION / "manage.py"), *words]
    return subprocess.run(command, env=system.environment, capture_output=True, text=True, check=False)


def is_quiet(system: System) -> bool:
    """Whether every analysis and every delivery ended."""
    return system.query("SELECT count(*) FROM jobs_job WHERE state IN ('queued', 'running')") == [(0,)]


def verify(system: System, receipts: Path) -> tuple[int, str]:
    """Verify the audit log and all receipts; return how many commands found a fault, and what they printed."""
    files = sorted(str(path) for path in receipts.iterdir())
    chain, signed = manage(system, "audit", "verify"), manage(system, "receipt", *files)
    lines = [f"audit verify: {(chain.stdout or chain.stderr).strip()}", (signed.stdout or signed.stderr).strip()]
    return bool(chain.returncode) + bool(signed.returncode), "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("faults", type=int, nargs="?", default=20)
    parser.add_argument("--asynchronous", action="store_true", help="the control, which must lose")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    random.seed(options.seed)
    dynamic = ASYNCHRONOUS if options.asynchronous else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("cluster", "system", "receipts"):
            (folder / part).mkdir()
        history = History(Path("failover.jsonl"))
        with (
            Cluster(folder / "cluster", **dynamic) as cluster,
            System(folder / "system", cluster.url, **LIMITS) as system,
            Orthanc(folder / "pacs") as orthanc,
        ):
            deliver_to(system, orthanc)
            make_people(system, {"sender": ["submitters"]})
            uploader = Uploader(system, history, Person(system, "sender"), folder / "receipts")
            faults = build_faults(cluster)
            if options.asynchronous:
                faults = {name: fault for name, fault in faults.items() if "standbys" in name}
            with sending(system, history, CLIENTS, uploader, pace=PACE):
                wait_for_acknowledgements(history, 0)
                run_faults(cluster, history, faults, options.faults)
            with contextlib.suppress(AssertionError):  # what did not end is a fault in the history
                until(lambda: is_quiet(system), SETTLING)
            collect(system, history, Counter(orthanc.instances()))
            broken, text = verify(system, folder / "receipts")
    print_pauses(measure_pauses(history.events), "accepts again")
    print("\n| | |\n| --- | ---: |")
    broken += print_table(history.path)
    print(text)
    lost = any(fault == "acknowledged and lost" for fault, _ in find_faults(history.events))
    if options.asynchronous:
        print("the control lost, as it must" if lost else "THE CONTROL LOST NOTHING: this proves nothing")
        return 0 if lost else 1
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
