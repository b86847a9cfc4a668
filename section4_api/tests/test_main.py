"""main.py and manage.py as a person runs them."""

import os
import re
import socket
from pathlib import Path

import pytest

import main
from live import database, run


def test_the_demonstration_leaves_only_the_sample(tmp_path: Path) -> None:
    with database(f"main_{os.getpid()}") as url:
        environment = {"DATABASE_URL": url, "LOG_FILE": str(tmp_path / "api.log")}
        for _ in range(2):
            done = run("--once", **environment)
            assert (done.returncode, done.stderr) == (0, "")
            shown = list(map(" ".join, re.findall(r"^([A-Z]+) \S+.*\n  (\d+) ", done.stdout, re.MULTILINE)))
            assert shown == ["POST 201", "GET 200", "GET 200", "PATCH 200", "POST 422", "DELETE 204", "GET 404"]
        shell = "from elements.models import Element; print(sorted(Element.objects.values_list('id', flat=True)))"
        listed = run("shell", "--no-imports", "-c", shell, program="manage.py", **environment)
        assert listed.stdout == "['sample-1', 'sample-2', 'sample-3', 'sample-4', 'sample-5']\n"


def test_a_port_that_is_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 1
    reason = "cannot listen (Address already in use); choose another --host or --port"
    assert done.stderr == f"ERROR: 127.0.0.1:{port}: {reason}\n"


def test_the_development_profile_listens_on_loopback_only() -> None:
    done = run("--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 1
    assert "the development profile has no tokens and serves loopback only" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["--port", "x"], ["--port", "99999"], ["--nonsense"], ["x"]])
def test_wrong_usage_is_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    assert ended.value.code == 2


@pytest.mark.parametrize("command", ["check", "makemigrations --check --dry-run"])
def test_manage_works_as_every_django_developer_expects(command: str) -> None:
    done = run(*command.split(), program="manage.py")
    assert done.returncode == 0, done.stderr
