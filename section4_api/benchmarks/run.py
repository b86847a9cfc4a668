"""The API beside its peers, on one database: `run.py requests` and `run.py million`, each under four minutes.

Every server has one worker process. The client sends requests one after the other over a connection that is kept
where the server keeps it; servers take turns, round by round; a figure is the median of the rounds' medians.
"""

import contextlib
import http.client
import io
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent / "peers"
SECTION = Path(__file__).parent.parent
sys.path.insert(0, str(SECTION))

import psutil  # noqa: E402
import psycopg2  # noqa: E402

from embedded_postgres import EmbeddedPostgres  # noqa: E402

ROUNDS = 5
MILLION = 1_000_000
SCRIPTS = Path(sysconfig.get_path("scripts"))
GRANIAN = [str(SCRIPTS / "granian"), "--interface", "wsgi", "--workers", "1", "--blocking-threads", "4", "--no-ws"]
GRANIAN += ["--log-level", "warning", "--host", "127.0.0.1", "--port", "{port}"]
WAITRESS = [str(SCRIPTS / "waitress-serve"), "--listen=127.0.0.1:{port}", "--threads=16", "--asyncore-use-poll"]
GUNICORN = [
    str(SCRIPTS / "gunicorn"),
    "--workers",
    "1",
    "--bind",
    "127.0.0.1:{port}",
    "--log-level",
    "warning",
    "--timeout",
    "300",
]
UVICORN = [str(SCRIPTS / "uvicorn"), "--port", "{port}", "--log-level", "warning", "--timeout-keep-alive", "600"]

SERVERS: dict[str, tuple[list[str], Path, dict[str, str]]] = {
    "section 4": ([*WAITRESS, "config.wsgi:application"], SECTION, {"LOG_FILE": os.devnull}),
    "stock": ([*GUNICORN, "stock:application"], PEERS, {}),
    "stock, connections kept": ([*GUNICORN, "stock:application"], PEERS, {"KEEP_CONNECTIONS": "1"}),
    "django-ninja": ([*GRANIAN, "ninja_app:application"], PEERS, {}),
    "django-ninja, waitress": ([*WAITRESS, "ninja_app:application"], PEERS, {}),
    "FastAPI, asyncpg": ([*UVICORN, "fast:app"], PEERS, {}),
    "raw SQL": ([*GRANIAN, "floor:application"], PEERS, {}),
}


class PeerError(Exception):
    """A server answered with an error."""


class Peer:
    """A server and a client of it."""

    def __init__(self, name: str, url: str) -> None:
        command, folder, environment = SERVERS[name]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        inherited = os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(folder)} | environment
        inherited.pop("DJANGO_SETTINGS_MODULE", None)
        self.process = subprocess.Popen([word.replace("{port}", port) for word in command], cwd=folder, env=inherited)
        self.client = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                self.ask("GET", "/api/elements/")
            except (OSError, http.client.HTTPException):
                self.client.close()
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
            else:
                return
        self.process.kill()
        raise PeerError("did not start")

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self.client.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = self.client.getresponse()
        content = response.read()
        if response.status not in (200, 201):
            raise PeerError(f"{method} {path}: {response.status} {content[:300]!r}")
        return content

    def processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def processor_seconds(self) -> float:
        """Processor time of its processes; unlike the time of a request, it hardly depends on the machine's load."""
        return sum(sum(one.cpu_times()[:2]) for one in self.processes())

    def megabytes(self) -> float:
        """Peak memory of the largest of its processes."""
        status = [Path(f"/proc/{one.pid}/status").read_text() for one in self.processes()]
        return max(int(text.split("VmHWM:")[1].split()[0]) for text in status) / 1024


@contextlib.contextmanager
def peers(url: str, names: Iterable[str]) -> Iterator[dict[str, Peer]]:
    started: dict[str, Peer] = {}
    try:
        for name in names:
            try:
                started[name] = Peer(name, url)
            except (FileNotFoundError, PeerError) as error:
                print(f"{name} is left out: {error}")
        yield started
    finally:
        for peer in started.values():
            peer.process.terminate()
            peer.process.wait()


numbers = iter(range(10**9))


def new_map(size: int) -> bytes:
    """A keyed map of elements that nobody has sent before."""
    one = {"data": ["54 26 34", "75 87 75", "98 12 45"], "deviceName": "RX 1"}
    return json.dumps({str(key): {"id": f"new{next(numbers)}"} | one for key in range(size)}).encode()


def new_element() -> bytes:
    return json.dumps({"id": f"new{next(numbers)}", "data": ["54 26 34", "75 87 75"], "deviceName": "RX 1"}).encode()


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(
    started: dict[str, Peer], times: int, work: Callable[[Peer], Callable[[], Any]]
) -> dict[str, tuple[float, float]]:
    """Median seconds of each peer's requests, and the server's processor time per request.

    The body of a request is made before the clock starts.
    """
    rounds: dict[str, list[float]] = {name: [] for name in started}
    before = {name: peer.processor_seconds() for name, peer in started.items()}
    taking_part = dict(started)
    for _ in range(ROUNDS):
        for name, peer in list(taking_part.items()):
            peer.client.close()  # some servers have closed the idle connection
            try:
                rounds[name].append(statistics.median(seconds(work(peer)) for _ in range(times)))
            except (OSError, http.client.HTTPException, PeerError) as error:  # out of this measurement, not of the run
                print(f"{name} is left out: {error}")
                peer.client.close()
                del taking_part[name]
    requests = ROUNDS * times
    return {
        name: (statistics.median(found), (started[name].processor_seconds() - before[name]) / requests)
        for name, found in rounds.items()
        if name in taking_part
    }


def posting(make: Callable[[], bytes]) -> Callable[[Peer], Callable[[], Any]]:
    def prepared(peer: Peer) -> Callable[[], Any]:
        body = make()
        return lambda: peer.ask("POST", "/api/elements/", body)

    return prepared


def show(title: str, found: dict[str, tuple[float, float]]) -> None:
    print(f"\n**{title}**\n\n| | ms | times section 4 | processor, ms | times section 4 |\n| --- {'| ---: ' * 4}|")
    for peer, values in found.items():
        cells = (
            f"{value * 1000:.2f} | {value / own:.1f}" for value, own in zip(values, found["section 4"], strict=True)
        )
        print(f"| {peer} | {' | '.join(cells)} |")
    sys.stdout.flush()


def fill(url: str, rows: int) -> None:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO elements_element (id, device_name, average_before_normalization, average_after_normalization,"
            " data_size, raw_data, created_at) SELECT 'e' || lpad(i::text, 7, '0'), 'RX ' || i %% 50, random() * 100,"
            " random(), 6, '[\"54 26 34\", \"75 87 75\"]', now() - i * interval '1 second'"
            " FROM generate_series(1, %s) i ON CONFLICT DO NOTHING",
            (rows,),
        )
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE elements_element")


def copied(url: str, size: int) -> float:
    """Seconds of COPY of as many new rows into the same table."""
    text = "".join(f'new{next(numbers)}\tRX 1\t58.5\t0.67\t6\t["54 26 34", "75 87 75"]\n' for _ in range(size))
    columns = "id, device_name, average_before_normalization, average_after_normalization, data_size, raw_data"
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        return seconds(lambda: cursor.copy_expert(f"COPY elements_element ({columns}) FROM STDIN", io.StringIO(text)))


def exported(url: str, kind: str) -> float:
    """Seconds of COPY of the table to a file."""
    columns = "id, device_name, average_before_normalization, average_after_normalization, data_size"
    rows = f"SELECT {columns}, created_at, updated_at FROM elements_element ORDER BY id"
    copy = f"COPY ({rows}) TO STDOUT (FORMAT csv, HEADER)"
    if kind == "ndjson":
        copy = f"COPY (SELECT row_to_json(r) FROM ({rows}) r) TO STDOUT"
    with (
        contextlib.closing(psycopg2.connect(url)) as connection,
        connection.cursor() as cursor,
        tempfile.TemporaryFile() as file,
    ):
        return seconds(lambda: cursor.copy_expert(copy, file))


def median_of(work: Callable[[], float]) -> float:
    return statistics.median(work() for _ in range(ROUNDS))


def last_page(peer: Peer, ordering: str) -> str:
    """Return the path of the last page of 100, reached by pages of 1000."""
    path = f"/api/elements/?ordering={ordering}&page_size=1000&fields=id"
    for _ in range(MILLION // 1000 - 1):
        path = next_path(peer, path)
    path = next_path(peer, path.replace("page_size=1000", "page_size=900"))
    return path.replace("&page_size=900", "").replace("&fields=id", "")


def next_path(peer: Peer, path: str) -> str:
    following: str = json.loads(peer.ask("GET", path))["next"]
    return "/" + following.split("/", 3)[3]


def describe(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} missing"


def main(part: str) -> None:
    """Measure the requests of every server, or the pages and exports of a million rows."""
    packages = (
        "django",
        "djangorestframework",
        "waitress",
        "granian",
        "django-ninja",
        "fastapi",
        "asyncpg",
        "gunicorn",
        "uvicorn",
    )
    print(f"Python {platform.python_version()}, " + ", ".join(map(describe, packages)))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "data") as postgres:
            url = postgres.url
            environment = os.environ | {"DATABASE_URL": url}
            subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=SECTION, env=environment, check=True)
            fill(url, 10_000 if part == "requests" else MILLION)
            with peers(url, SERVERS if part == "requests" else ["section 4"]) as started:
                measure_requests(url, started) if part == "requests" else measure_million(url, started["section 4"])


def measure_requests(url: str, started: dict[str, Peer]) -> None:
    show("List of 100", compare(started, 100, lambda peer: lambda: peer.ask("GET", "/api/elements/")))
    show("One element", compare(started, 100, lambda peer: lambda: peer.ask("GET", "/api/elements/e0005000/")))
    show("A new element", compare(started, 50, posting(new_element)))
    show("A map of 50", compare(started, 10, posting(lambda: new_map(50))))
    maps = compare(started, 1, posting(lambda: new_map(10_000)))
    show("A map of 10,000", maps)
    copy = median_of(lambda: copied(url, 10_000))
    print(f"\nRows a second: {10_000 / maps['section 4'][0]:,.0f}; COPY into the same table {10_000 / copy:,.0f}")


def measure_million(url: str, ours: Peer) -> None:
    print("\n**Pages of a million**\n\n| ordering | first, ms | last, ms | times first |\n| --- | ---: | ---: | ---: |")
    for ordering in ("id", "-created_at", "average_before_normalization", "device_name"):
        ours.client.close()
        first, last = f"/api/elements/?ordering={ordering}", last_page(ours, ordering)
        rounds: dict[str, list[float]] = {first: [], last: []}
        for _ in range(ROUNDS):
            for path, times in rounds.items():
                times.append(statistics.median(seconds(lambda path=path: ours.ask("GET", path)) for _ in range(20)))  # type: ignore[misc]
        found = [statistics.median(times) for times in rounds.values()]
        print(f"| {ordering} | {found[0] * 1000:.2f} | {found[1] * 1000:.2f} | {found[1] / found[0]:.1f} |")
    before = ours.megabytes()
    for kind in ("csv", "ndjson"):
        copy = median_of(lambda kind=kind: exported(url, kind))  # type: ignore[misc]
        export = median_of(lambda kind=kind: seconds(lambda: drain(ours, f"/api/elements/?format={kind}")))  # type: ignore[misc]
        print(
            f"\nExport of a million rows as {kind}: {export:.2f} s; COPY of the same {copy:.2f} s: {export / copy:.1f}"
        )
    print(f"Peak memory of a worker: {before:.0f} MB before the exports, {ours.megabytes():.0f} MB after them")


def drain(peer: Peer, path: str) -> None:
    peer.client.request("GET", path)
    response = peer.client.getresponse()
    while response.read(1 << 20):
        pass


if __name__ == "__main__":
    for part in sys.argv[1:] or ("requests", "million"):
        main(part)
