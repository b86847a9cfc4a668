"""Receiving, beside Orthanc and DCMTK's storescp, in one run: `make bench SECTION=section5_design`.

Each receives the same files from DCMTK's storescu, over 1 and over 4 associations at once, with TCP_NODELAY on both
sides; ours hashes, syncs and writes a row for each, and its workers and loops are not running. In turns, medians.
"""

import contextlib
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
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
from system import System, database, family, free_port, instance, listens, until  # noqa: E402

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


def over_http(port: int, path: str, kind: str, paths: list[str], clients: int) -> float:
    """Seconds until all were acknowledged, each a request."""
    contents = [Path(one).read_bytes() for one in paths]

    def send(own: list[bytes]) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
            for content in own:
                client.request("POST", path, content, {"Content-Type": kind})
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
        until(lambda: listens(web) and listens(dicom))
        yield process.pid, web, dicom
        process.terminate()


@contextlib.contextmanager
def storescp(folder: Path) -> Iterator[tuple[int, int]]:
    """DCMTK's receiver, a process for each association."""
    port = free_port()
    folder.mkdir()
    command = ["storescp", "--fork", "-od", str(folder), str(port)]
    with subprocess.Popen(command) as process:
        until(lambda: listens(port))
        yield process.pid, port
        process.terminate()


def megabytes(pid: int) -> float:
    """Memory of the processes of a receiver, what they share counted once."""
    return float(sum(one.memory_full_info().pss for one in family(pid))) / 2**20


def main() -> None:
    System.web_processes = 2
    said = subprocess.run(["Orthanc", "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
    print(
        f"Python {platform.python_version()}, {said}, {psutil.cpu_count()} cores; images a second, medians of {ROUNDS}"
    )
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "data") as postgres:
        Path(name).chmod(0o755)
        folder = Path(name)
        os.environ["DATABASE_URL"] = postgres.url
        (folder / "system").mkdir()
        with (
            database("receive") as url,
            System(folder / "system", url) as ours,
            orthanc(folder / "orthanc") as (orthanc_pid, orthanc_web, orthanc_dicom),
            storescp(folder / "storescp") as (_, storescp_port),
        ):
            ours.kill("worker")
            ours.kill("maintenance")
            for kind, count in COUNTS.items():
                for associations in ASSOCIATIONS:
                    compare(
                        f"{kind}, C-STORE, {associations} at once",
                        lambda part, kind=kind, count=count: files(folder / "files" / part, kind, count),  # type: ignore[misc]
                        {
                            "section 5": lambda p, n=associations: over_dicom("SECTION5", ours.dicom, p, n),  # type: ignore[misc]
                            "Orthanc": lambda p, n=associations: over_dicom("ORTHANC", orthanc_dicom, p, n),  # type: ignore[misc]
                            "storescp": lambda p, n=associations: over_dicom("ANY", storescp_port, p, n),  # type: ignore[misc]
                        },
                    )
                compare(
                    f"{kind}, HTTP, 4 at once",
                    lambda part, kind=kind, count=count: files(folder / "files" / part, kind, count),  # type: ignore[misc]
                    {
                        "section 5": lambda p: over_http(ours.http, "/dicom-web/studies", "application/dicom", p, 4),
                        "Orthanc": lambda p: over_http(orthanc_web, "/instances", "application/dicom", p, 4),
                    },
                )
            own = ours.parts["receiver"].pid
            told = f"section 5's receiver {megabytes(own):.0f} MB, Orthanc {megabytes(orthanc_pid):.0f} MB"
            print(f"\nMemory afterwards: {told}")


def compare(title: str, make: Callable[[str], list[str]], peers: dict[str, Callable[[list[str]], float]]) -> None:
    """Images a second of each, its own new files each time."""
    rates: dict[str, list[float]] = {name: [] for name in peers}
    for number in range(ROUNDS):
        for name, send in peers.items():
            paths = make(f"{title}-{number}-{name}")
            rates[name].append(len(paths) / send(paths))
    ours = statistics.median(rates["section 5"])
    told = [f"{name} {statistics.median(found):.0f}" for name, found in rates.items()]
    ratios = [
        f"{ours / statistics.median(found):.2f} of {name}" for name, found in rates.items() if name != "section 5"
    ]
    print(f"{title}: {', '.join(told)}; {', '.join(ratios)}", flush=True)


if __name__ == "__main__":
    main()
