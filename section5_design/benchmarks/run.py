"""Receiving, beside Orthanc and DCMTK's storescp, in one run: `make bench SECTION=section5_design`.

Each receives the same files from DCMTK's storescu and from a lean sender, over 1 and over 4 associations at once, with
TCP_NODELAY on both sides; ours hashes, encrypts, syncs and writes a row for each, and its workers and loops are not
running. In turns, medians. `--only "39 kB, C-STORE, 4"` runs the rows whose title contains the text.
"""

import argparse
import contextlib
import functools
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]
os.environ["TCP_NODELAY"] = "1"  # DCMTK's tools and Orthanc read it

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import pydicom  # noqa: E402
from pydicom.data import get_testdata_file  # noqa: E402

from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from system import System, database, family, free_port, instance, listens, public_folder, until  # noqa: E402

ROUNDS = 5
COUNTS = {"39 kB": 200, "0.5 MB": 80}
ASSOCIATIONS = (1, 4)


def files(folder: Path, kind: str, count: int) -> list[str]:
    """As many new instances, each in a file."""
    folder.mkdir(parents=True)
    times = 1 if kind == "39 kB" else 4
    source = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False))).pixel_array
    changes: dict[str, Any] = {"Rows": 128 * times, "Columns": 128 * times}
    changes["PixelData"] = np.kron(source, np.ones((times, times), source.dtype)).tobytes()
    made = []
    for number in range(count):
        path = folder / f"{number:04}.dcm"
        path.write_bytes(instance(**changes)[1])
        made.append(str(path))
    return made


def over_dicom(title: str, port: int, paths: list[str], associations: int) -> float:
    """Seconds until all were acknowledged."""
    start = time.perf_counter()
    senders = [
        subprocess.Popen(["storescu", "-aec", title, "localhost", str(port), *paths[number::associations]])
        for number in range(associations)
    ]
    if any(sender.wait() for sender in senders):
        sys.exit(f"{title} did not take everything")
    return time.perf_counter() - start


def write_to(sender: "subprocess.Popen[str]", text: str) -> None:
    """Write to a sender's standard input."""
    assert sender.stdin is not None  # for the type checker
    sender.stdin.write(text)
    sender.stdin.flush()


def over_lean_dicom(title: str, port: int, paths: list[str], associations: int) -> float:
    """Seconds until all were acknowledged, from senders that have read their files before."""
    command = [sys.executable, "-S", str(Path(__file__).with_name("lean_sender.py")), title, str(port)]
    senders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for _ in range(associations)
    ]
    for number, sender in enumerate(senders):
        write_to(sender, "\n".join(paths[number::associations]) + "\n\n")
    for sender in senders:
        assert sender.stdout is not None  # for the type checker
        sender.stdout.readline()
    start = time.perf_counter()
    for sender in senders:
        write_to(sender, "\n")
    if any(sender.wait() for sender in senders):
        sys.exit(f"{title} did not take everything")
    return time.perf_counter() - start


def over_http(port: int, path: str, paths: list[str], clients: int) -> float:
    """Seconds until all were acknowledged, each a request."""
    contents = [Path(one).read_bytes() for one in paths]

    def send(own: list[bytes]) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
            for content in own:
                client.request("POST", path, content, {"Content-Type": "application/dicom"})
                response = client.getresponse()
                response.read()
                if response.status != 200:
                    failed.append(response.status)

    failed: list[int] = []
    threads = [threading.Thread(target=send, args=(contents[number::clients],)) for number in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"{path}: {failed[0]}")
    return time.perf_counter() - start


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, int, int]]:
    """A running Orthanc: its process and ports."""
    web, dicom = free_port(), free_port()
    folder.mkdir()
    configuration = {"StorageDirectory": str(folder), "HttpPort": web, "DicomPort": dicom, "Plugins": []}
    configuration |= {"AuthenticationEnabled": False, "DicomAet": "ORTHANC", "DicomAlwaysAllowStore": True}
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    command = ["Orthanc", str(folder / "orthanc.json")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: listens(web) and listens(dicom))
            yield process.pid, web, dicom
        finally:
            process.terminate()


@contextlib.contextmanager
def storescp(folder: Path) -> Iterator[tuple[int, int]]:
    """DCMTK's receiver, a process for each association."""
    port = free_port()
    folder.mkdir()
    command = ["storescp", "--fork", "-od", str(folder), str(port)]
    with subprocess.Popen(command) as process:
        try:
            until(lambda: listens(port))
            yield process.pid, port
        finally:
            process.terminate()


def megabytes(pid: int) -> float:
    """Memory of the processes of a receiver, what they share counted once."""
    return float(sum(one.memory_full_info().pss for one in family(pid))) / 2**20


class CpuClock:
    """CPU time of the processes below one, with those that ended and were waited for."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def seconds(self) -> float:
        """Return the time so far."""
        times = [one.cpu_times() for one in family(self._pid)]
        return float(sum(one.user + one.system + one.children_user + one.children_system for one in times))


Send = Callable[[list[str]], float]


class Comparison:
    """Measures rows: images a second of each receiver, and what the CPU did for ours."""

    def __init__(self, folder: Path, only: str, rounds: int, clocks: dict[str, CpuClock]) -> None:
        self._folder, self._only, self._rounds, self._clocks = folder, only, rounds, clocks

    def row(self, title: str, kind: str, receivers: dict[str, Send]) -> None:
        """Send new files to each receiver in turn, and print the medians."""
        if self._only not in title:
            return
        rates: dict[str, list[float]] = {name: [] for name in receivers}
        used: dict[str, list[float]] = {name: [] for name in self._clocks}
        for number in range(self._rounds):
            for name, send in receivers.items():
                paths = files(self._folder / f"{title}-{number}-{name}", kind, COUNTS[kind])
                before = {part: clock.seconds() for part, clock in self._clocks.items()}
                rates[name].append(len(paths) / send(paths))
                if name == "section 5":
                    for part, clock in self._clocks.items():
                        used[part].append((clock.seconds() - before[part]) / len(paths) * 1000)
        ours = statistics.median(rates["section 5"])
        parts = [f"{name} {statistics.median(found):.0f}" for name, found in rates.items()]
        parts += [f"{ours / statistics.median(rates['Orthanc']):.2f} of Orthanc"]
        parts += [
            f"CPU ms an image: {', '.join(f'{part} {statistics.median(found):.2f}' for part, found in used.items())}"
        ]
        print(f"{title}: {'; '.join(parts)}", flush=True)


def compare_all(comparison: Comparison, ours: System, orthanc_ports: tuple[int, int], storescp_port: int) -> None:
    """Measure every row."""
    web, dicom = orthanc_ports
    for kind in COUNTS:
        for sender, send in (("", over_dicom), (", lean sender", over_lean_dicom)):
            for associations in ASSOCIATIONS:
                comparison.row(
                    f"{kind}, C-STORE, {associations} at once{sender}",
                    kind,
                    {
                        name: functools.partial(send, title, port, associations=associations)
                        for name, title, port in (
                            ("section 5", "SECTION5", ours.dicom),
                            ("Orthanc", "ORTHANC", dicom),
                            ("storescp", "ANY", storescp_port),
                        )
                    },
                )
        comparison.row(
            f"{kind}, HTTP, 4 at once",
            kind,
            {
                "section 5": lambda paths: over_http(ours.http, "/dicom-web/studies", paths, 4),
                "Orthanc": lambda paths: over_http(web, "/instances", paths, 4),
            },
        )


def main() -> None:
    """Compare, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose title contains TEXT")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    arguments = parser.parse_args()
    System.web_processes = 2
    said = subprocess.run(["Orthanc", "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
    print(
        f"Python {platform.python_version()}, {said}, {psutil.cpu_count()} cores;"
        f" images a second, medians of {arguments.rounds}"
    )
    with public_folder() as folder, EmbeddedPostgres(folder / "data") as postgres:
        os.environ["DATABASE_URL"] = postgres.url
        with (
            database("receive") as url,
            System(folder / "system", url) as ours,
            orthanc(folder / "orthanc") as (orthanc_pid, orthanc_web, orthanc_dicom),
            storescp(folder / "storescp") as (_, storescp_port),
        ):
            ours.kill("worker")
            ours.kill("maintenance")
            receiver = ours.parts["receiver"].pid
            server = int((postgres.folder / "postgresql" / "postmaster.pid").read_text().split()[0])
            clocks = {
                "receiver": CpuClock(receiver),
                "web": CpuClock(ours.parts["web"].pid),
                "PostgreSQL": CpuClock(server),
            }
            comparison = Comparison(folder / "files", arguments.only, arguments.rounds, clocks)
            compare_all(comparison, ours, (orthanc_web, orthanc_dicom), storescp_port)
            memory = f"section 5's receiver {megabytes(receiver):.0f} MB, Orthanc {megabytes(orthanc_pid):.0f} MB"
            print(f"\nMemory afterwards: {memory}")


if __name__ == "__main__":
    main()
