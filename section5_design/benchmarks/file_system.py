"""Compare ways to make a small file durable: `python benchmarks/file_system.py [FOLDER]`, a few seconds.

Each writes 39 kB and syncs, from 1 and from 4 threads; milliseconds a file, medians of 3.
"""

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

COUNT, ROUNDS = 200, 3
CONTENT = os.urandom(39_000)
SEGMENT = 64 << 20


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def linked(root: Path) -> None:
    """Write under a random name, link, sync file and folder, as the store does."""
    name = os.urandom(16).hex()
    spooled, target = root / name, root / name[:2] / name
    with spooled.open("xb", 0) as file:
        file.write(CONTENT)
        os.link(spooled, target)
        spooled.unlink()
        os.fdatasync(file.fileno())
        sync_folder(target.parent)


def nameless(root: Path) -> None:
    """Write a file without a name (O_TMPFILE), link, sync file and folder."""
    name = os.urandom(16).hex()
    descriptor = os.open(root, os.O_TMPFILE | os.O_WRONLY, 0o600)
    os.write(descriptor, CONTENT)
    # With src_dir_fd, Python calls linkat, which follows the link to the file.
    os.link(f"/proc/self/fd/{descriptor}", root / name[:2] / name, src_dir_fd=0, follow_symlinks=True)
    os.fdatasync(descriptor)
    sync_folder(root / name[:2])
    os.close(descriptor)


def segment(root: Path) -> None:
    """Write into a preallocated file and sync it."""
    with (root / "segment").open("r+b", 0) as file:
        file.seek(int.from_bytes(os.urandom(4), "big") % (SEGMENT - len(CONTENT)))
        file.write(CONTENT)
        os.fdatasync(file.fileno())


def measure(write: Callable[[Path], None], root: Path, threads: int) -> float:
    """Return the milliseconds a file takes."""

    def run() -> None:
        for _ in range(COUNT // threads):
            write(root)

    took = []
    for _ in range(ROUNDS):
        running = [threading.Thread(target=run) for _ in range(threads)]
        start = time.perf_counter()
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        took.append((time.perf_counter() - start) / COUNT * 1000)
    return statistics.median(took)


def main(folder: str | None = None) -> None:
    """Print a line for each way and number of threads."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        for number in range(256):
            (root / f"{number:02x}").mkdir()
        (root / "segment").write_bytes(bytes(SEGMENT))
        os.sync()
        for threads in (1, 4):
            for write in (linked, nameless, segment):
                print(f"{write.__name__}, {threads} at once: {measure(write, root, threads):.2f} ms", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:2])
