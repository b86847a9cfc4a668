"""Commands of a site: what they may do, and what happens to one that does something else."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from analysis import sandbox
from analysis.contract import Output, UnprocessableError
from analysis.results_folder import read_results
from analysis.sandbox import Limits, isolation_prefix, run_command, work_folder

Shell = Callable[..., Output]
LIMITS = Limits(seconds=20, memory_mb=500, output_mb=20)


@pytest.fixture
def shell(tmp_path: Path, settings: Any) -> Iterator[Shell]:
    """Run a shell script as a command, and read its results."""
    settings.DATA_FOLDER, settings.WORK_FOLDER = tmp_path, tmp_path / "work"
    settings.MASTER_KEY_FILE = str(tmp_path / "keys" / "master")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "master").write_text("secret")
    isolation_prefix.cache_clear()

    def run(script: str, limits: Limits = LIMITS) -> Output:
        with work_folder() as work:
            (work / "inputs" / "000001.dcm").write_text("image")
            run_command(["sh", "-c", script, "sh"], work, limits, {"PARAMETERS": '{"threshold": 3}'})
            return read_results(work / "results")

    yield run
    isolation_prefix.cache_clear()
    assert list(settings.WORK_FOLDER.iterdir()) == []


@pytest.fixture(params=[True, False], ids=["isolated", "not isolated"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, shell: Shell) -> None:
    """Both kinds of machine: with namespaces, and without."""
    if not request.param:
        monkeypatch.setattr(sandbox, "UNSHARE", ["false"])
    assert bool(isolation_prefix()) == request.param


def figures(**values: object) -> str:
    """Write a script that reports shell expressions."""
    pairs = ",".join(f'\\"{name}\\": \\"{value}\\"' for name, value in values.items())
    return f'echo "{{{pairs}}}" > $2/figures.json'


def test_command_reads_its_inputs_and_parameters(shell: Shell, either: None) -> None:
    script = figures(image="$(cat $1/000001.dcm)") + '; echo "$PARAMETERS" | grep -q threshold'
    assert shell(script) == Output(figures={"image": "image"})


def test_command_receives_no_secret_of_the_environment(
    shell: Shell, either: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTER_KEY", "secret")
    assert shell(figures(key="$MASTER_KEY", database="$DATABASE_URL")).figures == {"key": "", "database": ""}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("sleep SECONDS", "more than 1 seconds"),
        ("exit 3", "ended with status 3"),
        ("setsid sleep SECONDS & sleep SECONDS", "more than 1 seconds"),
        ("head -c 30000000 /dev/zero > big.npy; sleep 9", "larger than its limit|more than 20 MB"),
        ("for n in 1 2 3; do head -c 9000000 /dev/zero > $n.npy; done; sleep 9", "more than 20 MB"),
        ("for n in 1 2 3; do head -c 9000000 /dev/zero > $HOME/$n; done; sleep 9", "more than 20 MB"),
        ("for n in $(seq 100); do sleep SECONDS & done; wait", "more than 64 processes"),
        ("python3 -c 'bytearray(900 << 20)'", "ended with status 1"),
        ("for n in 1 2 3; do python3 -c 'import time; x = b\"1\" * (300 << 20); time.sleep(9)' & done; wait", "500 MB"),
    ],
)
def test_command_over_a_limit_is_killed_with_its_children(shell: Shell, either: None, script: str, reason: str) -> None:
    limits = Limits(1, 500, 20) if "1 seconds" in reason else LIMITS
    seconds = str(100_000 + os.getpid())  # of no other test run
    with pytest.raises(UnprocessableError, match=reason):
        shell(script.replace("SECONDS", seconds), limits)
    assert [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", seconds]] == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("ln -s /etc/passwd stolen.dcm", "stolen.dcm: not a regular file"),
        ("ln -s $1/000001.dcm image.dcm", "image.dcm: not a regular file"),
        ("echo > $HOME/x; ln $HOME/x linked.dcm", "linked.dcm: not a regular file"),
        ("mkfifo pipe.dcm", "pipe.dcm: not a regular file"),
        ("mkdir folder.dcm", "folder.dcm: not a regular file"),
        ("echo > notes.txt", "notes.txt: not figures.json"),
        ("touch 'a\nb.png'", "other characters"),
        ("echo nonsense > figures.json", "not JSON"),
        ("echo [1] > figures.json", "did not return a dictionary"),
        ('printf \'{"a": "\\\\u0000"}\' > figures.json', "NUL"),
        ("echo nonsense > picture.png", "not a PNG"),
        ("echo nonsense > mask.npy", "not a NumPy array"),
        ("python3 -c 'import numpy; numpy.save(\"mask\", numpy.array([{}]), allow_pickle=True)'", "not a NumPy array"),
    ],
)
def test_results_that_are_not_as_agreed_are_refused(shell: Shell, script: str, reason: str) -> None:
    with pytest.raises(UnprocessableError, match=reason):
        shell(script)


def test_isolated_command_has_no_network(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = (
            f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)' && touch reached.png"
        )
        with pytest.raises(UnprocessableError, match="ended with status 1"):
            shell(script)


def test_isolated_command_sees_no_key(shell: Shell, tmp_path: Path) -> None:
    key = tmp_path / "keys" / "master"
    assert shell(figures(key=f"$(cat {key} 2> $HOME/e)")).figures == {"key": ""}
    assert key.read_text() == "secret"


def test_isolated_command_writes_nowhere_else(shell: Shell, tmp_path: Path) -> None:
    places = [str(tmp_path / "written"), str(Path.home() / "written-by-a-test"), "/dev/shm/written-by-a-test"]
    shell(f"touch {' '.join(places)} 2> $HOME/e; true")
    assert [place for place in places if Path(place).exists()] == []
