"""The system on an S3 server: speed, and what a power failure costs: `python benchmarks/s3.py` (root, some 3 minutes).

The server's files are on a file system in a loop device. A power failure is: kill -9 the server, and go on with a copy
of the device as it is at that moment, without what the kernel had not written yet; then `weed fix`, because SeaweedFS
does not sync its index. With fsync nothing acknowledged may be lost; without it, as SeaweedFS comes, `manage.py verify`
must find what was.
"""

import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"

import django  # noqa: E402

django.setup()

from archive.remote_store import RemoteStore  # noqa: E402
from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from object_server import ObjectServer  # noqa: E402
from system import System, instance  # noqa: E402

SIZE = 1 << 30  # bytes of the device
LARGE = 2 << 30  # bytes of the object that is sent in parts
SECONDS = 10.0  # of sending; the kernel keeps what is not synced for longer
CLIENTS = 4


class Disk:
    """A file system in a file, mounted at a folder."""

    def __init__(self, folder: Path) -> None:
        self.image, self.mount = folder / "disk", folder / "mount"
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        run("mkfs.ext4", "-q", str(self.image))
        self.mount.mkdir()
        self._mount()

    def _mount(self) -> None:
        run("mount", "-o", "loop,commit=300", str(self.image), str(self.mount))

    def lose_power(self) -> None:
        """Go on with what is on the disk; what is only in memory is gone."""
        copy = self.image.with_suffix(".copy")
        run("cp", "--sparse=always", str(self.image), str(copy))
        run("umount", str(self.mount))
        copy.replace(self.image)
        self._mount()

    def close(self) -> None:
        run("umount", str(self.mount))


def run(*command: str) -> None:
    subprocess.run(command, check=True)


@contextlib.contextmanager
def running(folder: Path, environment: dict[str, str]) -> Iterator[System]:
    with EmbeddedPostgres(folder / "database") as postgres:
        (folder / "system").mkdir()
        with System(folder / "system", postgres.url, **environment) as system:
            yield system


def send(system: System) -> int:
    """Send for some seconds; the number of instances that were acknowledged."""
    end, acknowledged = time.monotonic() + SECONDS, [0] * CLIENTS

    def client(number: int) -> None:
        while time.monotonic() < end:
            acknowledged[number] += system.post(instance()[1]).status == 200

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(acknowledged)


def verify(system: System) -> list[str]:
    """What `manage.py verify` says is wrong."""
    command = [sys.executable, str(SECTION / "manage.py"), "verify"]
    done = subprocess.run(command, env=system.environment, capture_output=True, text=True, check=False)
    found = [line for line in done.stderr.splitlines() if "its object" in line]
    if done.returncode != bool(found):
        sys.exit(f"verify failed: {done.stderr[-500:]}")
    return found


def lose_power(*, fsync: bool) -> tuple[int, int]:
    """Send, lose the power of the object store, and count: acknowledged, and lost."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        disk = Disk(folder)
        try:
            with (
                ObjectServer(disk.mount, fsync=fsync) as server,
                running(folder, server.environment | {"STORAGE_URL": server.new_url()}) as system,
            ):
                run("sync")  # so that the bucket is there afterwards
                acknowledged = send(system)
                server.kill()
                disk.lose_power()
                server.rebuild_index()
                server.start()
                return acknowledged, len(verify(system))
        finally:
            disk.close()


def measure_receiving() -> dict[str, float]:
    """Instances of 39 kB a second, received on the file store and on S3."""
    speeds = {}
    for kind in ("file store", "S3"):
        with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
            folder = Path(name)
            folder.chmod(0o755)
            environment = {}
            if kind == "S3":
                (folder / "s3").mkdir()
                server = stack.enter_context(ObjectServer(folder / "s3"))
                environment = server.environment | {"STORAGE_URL": server.new_url()}
            system = stack.enter_context(running(folder, environment))
            system.kill("worker")
            speeds[kind] = send(system) / SECONDS
    return speeds


def peak_memory() -> float:
    """Return the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_large() -> tuple[float, float, float]:
    """Return for an object of 2 GB: seconds to send it, MB of memory for that, milliseconds to read 64 KiB of it."""
    with tempfile.TemporaryDirectory() as name, ObjectServer(Path(name)) as server:
        os.environ.update(server.environment)
        store, path = RemoteStore(server.new_url()), Path(name) / "large"
        with path.open("wb") as file:
            for _ in range(LARGE >> 26):
                file.write(os.urandom(1 << 26))
        with path.open("rb") as file:
            file.seek(LARGE - 100)
            last = file.read()
        started, before = time.monotonic(), peak_memory()
        store.put(path, "large")
        sent, memory = time.monotonic() - started, peak_memory() - before
        with store.open("large") as remote:
            remote.seek(LARGE - 100)
            if remote.read() != last:
                raise ValueError("the object is not as it was sent")
            started = time.monotonic()
            for _ in range(50):
                remote.seek(random.randrange(LARGE - (1 << 16)))
                remote.read(1 << 16)
            return sent, memory, (time.monotonic() - started) / 50 * 1000


def main() -> int:
    if shutil.which("mkfs.ext4") is None or os.geteuid() != 0:
        print("needs root, to mount a loop device, and e2fsprogs", file=sys.stderr)
        return 2
    random.seed(1)
    print("| | acknowledged | lost |\n| --- | ---: | ---: |")
    durable, careless = lose_power(fsync=True), lose_power(fsync=False)
    print(f"| power failure, with fsync | {durable[0]} | {durable[1]} |")
    print(f"| the control: without fsync | {careless[0]} | {careless[1]} |", flush=True)
    for kind, speed in measure_receiving().items():
        print(f"received over HTTP, {CLIENTS} at once, on the {kind}: {speed:.0f} images a second", flush=True)
    sent, memory, read = measure_large()
    print(f"2 GB in parts: {sent:.1f} s, {memory:.0f} MB more memory; 64 KiB of it: {read:.0f} ms")
    return 0 if durable[1] == 0 < careless[1] else 1


if __name__ == "__main__":
    sys.exit(main())
