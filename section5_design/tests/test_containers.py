"""Programs as a container starts them: as PID 1 of a PID namespace, without a parent."""

import contextlib
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from system import ANY_LOAD, SECTION, database, family, free_port, needs, until


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


@pytest.mark.parametrize("program", ["web", "receiver", "worker", "maintenance"])
def test_a_program_starts_as_pid_1(program: str, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can create a PID namespace")
    port = free_port()
    options = ["--port", str(free_port())] if program in ("web", "receiver") else []
    with database(f"pid1_{os.getpid()}") as url:
        environment = os.environ | ANY_LOAD | {"DATABASE_URL": url, "DATA_FOLDER": str(tmp_path)}
        inside = [needs("unshare", "util-linux"), "--pid", "--fork", "--mount-proc", "--kill-child"]
        command = [*inside, sys.executable, str(SECTION / "main.py"), program, *options, "--health-port", str(port)]
        with subprocess.Popen(command, env=environment) as container:
            try:
                until(lambda: answers(port) or container.poll() is not None, 60)
                assert container.poll() is None
                if program == "worker":  # its pool is a child of PID 1
                    until(lambda: len(family(container.pid)) > 4, 60)
            finally:
                container.kill()
