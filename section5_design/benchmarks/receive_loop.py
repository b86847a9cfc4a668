"""Compare the upper layer with pynetdicom's: the same images, sent by storescu, received and thrown away.

python benchmarks/receive_loop.py [--runs N]; needs storescu (Debian package dcmtk). Both acceptors run in a process of
their own, alternate, and discard the data sets, so that only the protocol costs. TCP_NODELAY is set on both sides.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

sys.path.insert(0, str(Path(__file__).parent.parent))
IMAGES = {"39 kB": (128, 400), "0.5 MB": (512, 200)}  # rows and columns; number of images


def make_images(folder: Path, size: int, count: int) -> None:
    """Write CT images of `size` times `size` pixels of 16 bits."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.Rows = dataset.Columns = size
    dataset.PixelData = os.urandom(size * size * 2)
    folder.mkdir()
    for number in range(count):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(folder / f"{number}.dcm")


def serve_own(port: Any) -> None:
    """Accept with this section's upper layer."""
    from ingest.dimse.association import Settings, serve_association

    class Discard:
        def write(self, part: Any) -> None: ...
        def finish(self) -> int:
            return 0

        def abort(self) -> None: ...

    class Handlers:
        def authorize(self, *_: str) -> None:
            return None

        def open_sink(self, _: str) -> Discard:
            return Discard()

        def commitment(self, _: Any) -> int:
            return 0

        def query(self, *_: Any) -> None:
            raise AssertionError

    listener = socket.create_server(("127.0.0.1", 0))
    port.value = listener.getsockname()[1]
    while True:
        client, address = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        arguments = client, address[0], Settings(), Handlers()
        threading.Thread(target=serve_association, args=arguments, daemon=True).start()


def serve_pynetdicom(port: Any) -> None:
    """Accept with pynetdicom, its data sets in memory and never decoded."""
    from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt

    _config.LOG_HANDLER_LEVEL = "none"

    def set_nodelay(event: Any) -> None:
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    entity = AE()
    entity.maximum_pdu_size = 1 << 17
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
    handlers = [(evt.EVT_C_STORE, lambda _: 0), (evt.EVT_CONN_OPEN, set_nodelay)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    port.value = server.socket.getsockname()[1]
    threading.Event().wait()


def measure(serve: Callable[[Any], None], folder: Path, senders: int) -> tuple[float, float]:
    """Return images per second, and the acceptor's CPU milliseconds an image."""
    fork = multiprocessing.get_context("fork")
    port = fork.Value("i", 0)
    acceptor = fork.Process(target=serve, args=(port,), daemon=True)
    acceptor.start()
    while not port.value:
        time.sleep(0.01)
    command = [str(shutil.which("storescu")), "+sd", "127.0.0.1", str(port.value), str(folder)]
    environment = os.environ | {"TCP_NODELAY": "1"}
    started = time.perf_counter()
    programs = [subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(senders)]
    failed = [program for program in programs if program.wait()]
    seconds = time.perf_counter() - started
    images = senders * len(list(folder.iterdir()))
    acceptor.terminate()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    acceptor.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if failed:
        raise SystemExit("storescu failed")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return images / seconds, used * 1000 / images


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each, of which the median counts")
    runs = parser.parse_args().runs
    if not shutil.which("storescu"):
        print("storescu is not installed (Debian package dcmtk); nothing was measured")
        return 0
    print("| images, senders | ours: images/s | CPU ms | pynetdicom: images/s | CPU ms | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name, (size, count) in IMAGES.items():
            make_images(Path(folder, name), size, count)
            for senders in (1, 4):
                results: dict[Callable[[Any], None], list[tuple[float, float]]] = {serve_own: [], serve_pynetdicom: []}
                for _ in range(runs):
                    for serve, found in results.items():
                        found.append(measure(serve, Path(folder, name), senders))
                rates = [
                    [statistics.median(column) for column in zip(*found, strict=True)] for found in results.values()
                ]
                (own, own_cpu), (other, other_cpu) = rates
                ours = f"{own:.0f} | {own_cpu:.2f}"
                print(f"| {name}, {senders} | {ours} | {other:.0f} | {other_cpu:.2f} | {own / other:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
