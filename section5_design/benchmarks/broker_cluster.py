"""Lose nodes, networks and queues of a RabbitMQ cluster under load, and count: `python benchmarks/broker_cluster.py 8`.

Eight faults on three nodes, each in a network namespace (root only), as deploy/rabbitmq-cluster.conf configures them.
The table has the longest time of each fault without a finished job; the history is in broker_cluster.jsonl (see
history.py).
"""

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]

from benchmarks.history import Event, History, collect, print_pauses, print_table, read, sending  # noqa: E402
from broker_cluster import NODES, BrokerCluster  # noqa: E402
from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from system import System, until  # noqa: E402

CLIENTS = 3
LIMITS = {"TASK_SECONDS": "10", "LEASE_SECONDS": "12", "MAX_ATTEMPTS": "9"}
HELD = 30.0  # seconds that a partition lasts, longer than a node needs to notice it
SETTLING = 10.0  # seconds of work between two faults
PATIENCE = 240.0  # seconds
Fault = Callable[[], None]


def build_faults(cluster: BrokerCluster) -> dict[str, Fault]:
    def kill(*names: str, reset: bool = False) -> None:
        for name in names:
            cluster.kill(name)
            if reset:
                cluster.reset(name)
        time.sleep(SETTLING)
        for name in names:
            cluster.start(name)

    def cut_off() -> None:
        name = random.choice(NODES)
        cluster.cut(name)
        time.sleep(HELD)
        cluster.mend(name)

    def cut_off_from_nodes() -> None:
        name = random.choice(NODES)
        others = [other for other in NODES if other != name]
        cluster.cut_from(name, *others)
        time.sleep(HELD)
        cluster.mend_from(name, *others)

    return {
        "a node, kill -9": lambda: kill(random.choice(NODES)),
        f"a node cut off from all for {HELD:.0f} s": cut_off,
        f"a node cut off from the other nodes for {HELD:.0f} s": cut_off_from_nodes,
        "every node, kill -9 and reset: no queue is left": lambda: kill(*NODES, reset=True),
    }


def run_faults(cluster: BrokerCluster, history: History, count: int) -> None:
    """Do each fault in turn, and let the system work for a while after each."""
    faults = build_faults(cluster)
    for number in range(count):
        name = list(faults)[number % len(faults)]
        history.write("fault", name=name)
        faults[name]()
        until(cluster.is_whole, PATIENCE)
        time.sleep(SETTLING)
        history.write("over")
        print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)


def measure_pauses(events: list[Event]) -> dict[str, list[float]]:
    """Return the longest time without a finished job of each fault, by its name."""
    pauses: dict[str, list[float]] = defaultdict(list)
    name, last, longest = "", 0.0, 0.0
    kinds = ("fault", "over", "ended")
    for one in sorted((event for event in events if event["event"] in kinds), key=lambda event: float(event["at"])):
        if one["event"] == "fault":
            name, longest, last = one["name"], 0.0, one["at"]
            continue
        longest, last = max(longest, one["at"] - last), one["at"]
        if one["event"] == "over":
            pauses[name].append(longest)
    return pauses


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("faults", type=int, nargs="?", default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("brokers", "system"):
            (folder / part).mkdir()
        history = History(Path("broker_cluster.jsonl"))
        with (
            BrokerCluster(folder / "brokers") as cluster,
            EmbeddedPostgres(folder / "server") as server,
            System(folder / "system", server.url, BROKER_URL=cluster.url, **LIMITS) as system,
        ):
            with sending(system, history, CLIENTS):
                time.sleep(SETTLING)
                run_faults(cluster, history, options.faults)
            with contextlib.suppress(AssertionError):  # what did not end is a fault in the history
                system.settle()
            collect(system, history)
    print_pauses(measure_pauses(read(history.path)), "works again")
    print("\n| | |\n| --- | ---: |")
    return print_table(history.path)


if __name__ == "__main__":
    sys.exit(main())
