"""Run the complete system in tests: each program by its command, in its own process, on its own database."""

import atexit
import contextlib
import fcntl
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg2
import pydicom
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

SECTION = Path(__file__).parent.parent
PATIENCE = 120.0  # seconds
PROGRAMS = ("web", "receiver", "worker", "maintenance")
OVER_HTTP = ("web", "worker", "maintenance")
FAST_SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.fast_settings"}
ANY_LOAD = {"MAX_CPU": "100000", "MAX_MEMORY": "101"}  # other tests run on the same machine


TEMPLATE = os.environ.setdefault("TEMPLATE_DATABASE", f"template_{os.getpid()}")  # pytest-xdist's processes share it


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Let one test process at a time into a block."""
    with (Path(tempfile.gettempdir()) / f"section5-{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def default_ports() -> contextlib.AbstractContextManager[None]:
    """Let one test at a time start main.py on its default ports."""
    return one_at_a_time("default-ports")


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def url_of(name: str) -> str:
    """Return the URL of a database on the server of DATABASE_URL."""
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


@lru_cache(maxsize=1)
def template(server: str) -> str:
    """Create a database with all tables, once for all test processes: copying it is faster than the migrations."""
    with one_at_a_time("template"), contextlib.suppress(psycopg2.errors.DuplicateDatabase):
        administer(f'CREATE DATABASE "{TEMPLATE}"')
        migrate(os.environ | {"DATABASE_URL": url_of(TEMPLATE)})
    return TEMPLATE


def drop_template() -> None:
    """Drop the template, as the server may outlive the tests."""
    with contextlib.suppress(KeyError, psycopg2.OperationalError):
        administer(f'DROP DATABASE IF EXISTS "{TEMPLATE}" WITH (FORCE)')


if f"template_{os.getpid()}" == TEMPLATE:
    atexit.register(drop_template)


def migrate(environment: Mapping[str, str]) -> None:
    command = [sys.executable, str(SECTION / "manage.py"), "migrate", "-v0"]
    subprocess.run(command, env=environment, check=True)


@contextlib.contextmanager
def database(name: str) -> Iterator[str]:
    """Create a database on the server of DATABASE_URL, yield its URL, and drop it."""
    administer(f'DROP DATABASE IF EXISTS "{name}"')
    administer(f'CREATE DATABASE "{name}" TEMPLATE "{template(os.environ["DATABASE_URL"])}"')
    try:
        yield url_of(name)
    finally:
        administer(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """Make a folder that `nobody` can reach, as whom servers run if root runs the tests; pytest's are closed."""
    with tempfile.TemporaryDirectory(prefix="section5-tests-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def administer(statement: str) -> None:
    """Run a statement outside a transaction, over a new connection: tests may restart the server."""
    with contextlib.closing(psycopg2.connect(os.environ["DATABASE_URL"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class System:
    """Web, receiver, worker and maintenance; each can be killed and started again."""

    web_processes = 1

    def __init__(
        self, folder: Path, database_url: str, programs: tuple[str, ...] = PROGRAMS, /, **environment: str
    ) -> None:
        self.folder, self.database_url, self._programs = folder, database_url, programs
        self.http, self.dicom = free_port(), free_port()
        self.environment = (
            os.environ
            | {"DATABASE_URL": database_url, "DATA_FOLDER": str(folder)}
            | FAST_SETTINGS
            | ANY_LOAD
            | environment
        )
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(exist_ok=True)
        self.log = (folder / "log").open("ab")
        self._wrapped_keys: dict[bytes, Any] = {}
        self._local = threading.local()

    def __enter__(self) -> "System":
        if self.query("SELECT to_regclass('uploads_uploadfile') IS NULL") == [(True,)]:
            migrate(self.environment)
        for name in self._programs:
            self.start(name)
        try:
            until(lambda: listens(self.http) and ("receiver" not in self._programs or listens(self.dicom)))
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "worker" in self.parts:
            self.kill("worker")  # Celery takes five seconds to shut down; tests of that do it themselves
        for part in self.parts.values():
            part.terminate()
        for part in self.parts.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                part.wait(20)
            kill_all(family(part.pid))
            part.wait()
        self.log.close()

    def start(self, name: str, *more: str) -> None:
        options = {
            "web": ["--port", str(self.http), "--processes", str(self.web_processes)],
            "receiver": ["--port", str(self.dicom)],
            "worker": ["--processes", "2"],
            "maintenance": [],
        }
        command = [sys.executable, str(SECTION / "main.py"), name, *options[name], *more]
        self.parts[name] = subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=self.log)

    def kill(self, name: str) -> None:
        """Kill a program with all its processes (SIGKILL)."""
        part = self.parts[name]
        everyone = family(part.pid)
        kill_all(everyone)
        part.wait()
        psutil.wait_procs(everyone, timeout=10)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.http, timeout=60)) as client:
            client.request(method, path, body, named)
            response = client.getresponse()
            return Answer(response.status, response.headers, response.read())

    def post(self, content: bytes) -> Answer:
        return self.ask("POST", "/dicom-web/studies", content, Content_Type="application/dicom")

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement over this thread's connection, or a new one if the server was away meanwhile."""
        with contextlib.suppress(AttributeError, psycopg2.InterfaceError, psycopg2.OperationalError):
            return fetch(self._local.connection, statement, values)
        self._local.connection = psycopg2.connect(self.database_url)
        self._local.connection.autocommit = True
        return fetch(self._local.connection, statement, values)

    def state_of(self, uid: str) -> tuple[str, str]:
        """Return the state and reason of an instance's job; empty strings if it has none."""
        found = self.query(
            "SELECT state, reason FROM analysis_job JOIN archive_instance AS i ON i.id = instance_id"
            " WHERE sop_instance_uid = %s",
            uid,
        )
        return found[0] if found else ("", "")

    def results_of(self, uid: str) -> int:
        return int(
            self.query(
                "SELECT count(*) FROM analysis_result AS r JOIN archive_instance AS i ON i.id = r.instance_id"
                " WHERE sop_instance_uid = %s",
                uid,
            )[0][0]
        )

    def wait_for(self, uid: str, *states: str) -> tuple[str, str]:
        """Wait until the job of an instance is in one of these states."""
        try:
            until(lambda: self.state_of(uid)[0] in (states or ("done",)))
        except AssertionError:
            workers = self.query("SELECT name, state, now() - heartbeat_at, current_jobs FROM jobs_worker")
            log = (self.folder / "log").read_text(errors="replace").splitlines()[-40:]
            pytest.fail("\n".join([f"job: {self.state_of(uid)}", *map(str, workers), *log]))
        return self.state_of(uid)

    def spooled(self) -> list[Path]:
        """Return the files that are being received."""
        return list((self.folder / "spool").glob("*"))

    def settle(self) -> None:
        """Wait until nothing is queued or running."""
        until(lambda: self.query("SELECT count(*) FROM analysis_job WHERE state IN ('queued', 'running')")[0][0] == 0)

    def unsealed(self, sealed: bytes) -> bytes:
        """Decrypt an object as its format is documented, independently of the code under test."""
        header, key_id, wrapped = sealed[:84], sealed[8:24], sealed[36:84]
        master = bytes.fromhex((self.folder / "keys" / "master").read_text())
        if key_id not in self._wrapped_keys:
            statement = "SELECT wrapped FROM archive_keyencryptionkey WHERE id = %s"
            ((self._wrapped_keys[key_id],),) = self.query(statement, str(uuid.UUID(bytes=key_id)))
        sealing = self._wrapped_keys[key_id]
        sealing_key = AESGCM(master).decrypt(bytes(sealing[8:20]), bytes(sealing[20:]), None)
        data_key = AESGCM(AESGCM(sealing_key).decrypt(sealed[24:36], wrapped, sealed[:24]))
        chunks = [sealed[place : place + 65552] for place in range(84, len(sealed), 65552)]
        return b"".join(
            data_key.decrypt(number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk, header)
            for number, chunk in enumerate(chunks)
        )

    def ledger(self) -> None:
        """Check an idle system: one result for each job that is done, every object as received."""
        import hashlib

        wrong = self.query(
            "SELECT i.id FROM archive_instance AS i LEFT JOIN analysis_job AS j ON j.instance_id = i.id"
            " LEFT JOIN analysis_result AS r ON r.instance_id = i.id AND NOT superseded GROUP BY i.id, j.state HAVING"
            " count(DISTINCT j.id) <> 1 OR count(r.instance_id) <> (CASE WHEN j.state = 'done' THEN 1 ELSE 0 END)"
        )
        assert wrong == []
        for sha256, size in self.query("SELECT sha256, size FROM archive_instance"):
            content = self.unsealed((self.folder / "store" / "objects" / sha256[:2] / sha256).read_bytes())
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (sha256, size)


def fetch(connection: Any, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def family(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [*parent.children(recursive=True), parent]
    return []


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kill processes (SIGKILL), some of which may end by themselves meanwhile."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def until(holds: Any, patience: float = PATIENCE) -> None:
    """Poll until a condition holds."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, f"not within {patience:.0f} s"
        time.sleep(0.05)


def instance(name: str = "CT_small.dcm", **changes: Any) -> tuple[str, bytes]:
    """Return a pydicom test file under a new SOP Instance UID: the UID and the bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(str(get_testdata_file(name, download=False)))
        uid = changes.pop("SOPInstanceUID", generate_uid())
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        target = io.BytesIO()
        dataset.save_as(target)
    return uid, target.getvalue()


def needs(program: str, package: str, path: str | None = None) -> str:
    """Return the path of a program; without it, skip the test, or fail it where CI is set."""
    if found := shutil.which(program, path=path):
        return found
    missing = f"needs {program}: apt install {package}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
