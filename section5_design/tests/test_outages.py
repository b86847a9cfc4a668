"""Servers that the system leans on go away and come back, and a worker is cut off from all of them.

Each test has servers of its own, so that the machine's are left alone.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psutil
import pytest

from local.embedded_postgres import EmbeddedPostgres
from namespaces import find_ip, own_network
from system import SECTION, System, family, free_port, instance, kill_all, listens, needs, public_folder, until
from test_faults import HOSTILE, QUICKLY

LONG = 120.0  # seconds, in which what was cut off must be back
RABBITMQ = "/usr/lib/rabbitmq/bin"


@contextlib.contextmanager
def rabbitmq(
    folder: Path, configuration: Path | None = None, port: int = 0
) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """A RabbitMQ node of this test's: its URL, how to kill it and how to start it."""
    program = needs("rabbitmq-server", "rabbitmq-server", path=RABBITMQ)
    port, node = port or free_port(), f"section5-{os.getpid()}@localhost"
    environment = os.environ | {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": node,
        **({} if configuration else {"RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(port)}),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(configuration or folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_LOGS": "-",
    }
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with (folder / "out").open("ab") as out:
            command = [program]
            running.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True))
        until(lambda: listens(port))

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running[-1].pid, signal.SIGKILL)
        running[-1].wait()

    start()
    try:
        yield f"amqp://guest:guest@127.0.0.1:{port}//", kill, start
    finally:
        kill()


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(folder / "server") as server:
        yield server


def kill_postgresql(server: EmbeddedPostgres) -> None:
    pid = int((server.folder / "postgresql" / "postmaster.pid").read_text().split()[0])
    everyone = [psutil.Process(pid), *psutil.Process(pid).children()]
    kill_all(everyone)
    psutil.wait_procs(everyone, timeout=10)


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as path:
        yield path


def has_results(system: System, uids: list[str]) -> None:
    until(lambda: all(system.state_of(uid)[0] == "done" for uid in uids), LONG)
    assert [system.results_of(uid) for uid in uids] == [1] * len(uids)
    system.ledger()


def test_work_goes_on_while_rabbitmq_is_down_and_after_it_lost_its_queues(folder: Path) -> None:
    with (
        rabbitmq(folder) as (url, kill, start),
        postgresql(folder) as server,
        System(folder / "system", server.url, BROKER_URL=url, **QUICKLY) as system,
    ):
        has_results(system, [send(system)])
        before = [send(system) for _ in range(3)]
        kill()
        has_results(system, before)
        until(lambda: send_and_wait(system) and "working without the broker" in log_of(system), LONG)
        shutil.rmtree(folder / "data")
        start()
        until(lambda: send_and_wait(system) and "messages arrive again" in log_of(system), LONG)
        assert send_and_wait(system)


def send_and_wait(system: System) -> bool:
    """Send an image and wait for its result."""
    has_results(system, [send(system)])
    return True


def log_of(system: System) -> str:
    return (system.folder / "log").read_text()


def send(system: System, **changes: str) -> str:
    uid, content = instance(**changes)
    assert system.post(content).status == 200
    return uid


def test_a_killed_postgresql_is_reported_and_loses_nothing(folder: Path) -> None:
    with postgresql(folder) as server, System(folder / "system", server.url, **QUICKLY) as system:
        before = [send(system) for _ in range(3)]
        kill_postgresql(server)
        uid, content = instance()
        assert system.post(content).status == 503
        path = folder / "file.dcm"
        path.write_bytes(content)
        command = [needs("storescu", "dcmtk"), "-aec", "SECTION5", "localhost", str(system.dicom), str(path)]
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0
        server.stop()
        server.start()
        assert system.state_of(uid) == ("", "")
        has_results(system, [*before, send(system)])
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
        has_results(system, [uid])


@contextlib.contextmanager
def namespace() -> Iterator[tuple[list[str], str, Callable[[str], None]]]:
    """A network of its own: how to run a command in it, this side's address, and how to set its line up or down."""
    ip, name, here = find_ip(), f"s5-{os.getpid()}", "10.213.0.1"

    def run(*words: str) -> None:
        subprocess.run([ip, *words], check=True, capture_output=True)

    run("netns", "add", name)
    try:
        run("link", "add", "line", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("addr", "add", f"{here}/30", "dev", "line")
        run("link", "set", "line", "up")
        run("-n", name, "addr", "add", "10.213.0.2/30", "dev", "eth0")
        for device in ("eth0", "lo"):
            run("-n", name, "link", "set", device, "up")
        yield [ip, "netns", "exec", name], here, lambda state: run("link", "set", "line", state)
    finally:
        run("netns", "delete", name)


@contextlib.contextmanager
def relay(address: str, target: str) -> Iterator[str]:
    """What listens on loopback or on a socket can be reached at another address too: there, and its port."""
    socat, port = needs("socat", "socat"), free_port()
    command = [socat, f"TCP-LISTEN:{port},bind={address},fork,reuseaddr", target]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"{address}:{port}"
        finally:
            process.terminate()


def test_a_disconnected_worker_writes_nothing_until_it_reconnects(folder: Path) -> None:
    (folder / "hostile.py").write_text(HOSTILE, encoding="utf-8")
    settings = QUICKLY | {"ANALYSIS": "hostile.analyse", "PYTHONPATH": str(folder), "TASK_SECONDS": "30"}
    settings |= {"LEASE_SECONDS": "31", "MAX_ATTEMPTS": "9"}
    with (
        own_network(),
        rabbitmq(folder) as (broker, _, _),
        postgresql(folder) as server,
        System(folder / "system", server.url, BROKER_URL=broker, **settings) as system,
        namespace() as (inside, address, line),
        relay(address, f"TCP:127.0.0.1:{urlsplit(broker).port}") as far_broker,
        relay(address, f"UNIX-CONNECT:{unquote(urlsplit(server.url).hostname or '')}/.s.PGSQL.5432") as far_database,
    ):
        system.kill("worker")
        user = urlsplit(server.url).netloc.rpartition("@")[0]
        far = {"DATABASE_URL": f"postgresql://{user}@{far_database}/postgres"}
        far["BROKER_URL"] = f"amqp://guest:guest@{far_broker}//"
        command = [*inside, sys.executable, str(SECTION / "main.py"), "worker", "--processes", "1"]
        with subprocess.Popen(command, env=system.environment | far, stdout=system.log, stderr=system.log) as cut_off:
            try:
                slow = send(system, PatientID="slowly")
                until((folder / "system" / "slow").exists)
                line("down")
                (folder / "system" / "go on").touch()
                system.start("worker")
                has_results(system, [slow, send(system)])
                system.kill("worker")
                line("up")
                has_results(system, [slow, send(system)])
            finally:
                kill_all(family(cut_off.pid))
