"""main.py as a person runs it, and the README beside it."""

import argparse
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import main
from system import ANY_LOAD, SECTION, administer, database, default_ports, free_port, url_of

README = (SECTION / "README.md").read_text(encoding="utf-8")


def test_the_demo_ends_with_every_result(tmp_path: Path) -> None:
    with database(f"tour_{os.getpid()}") as url, default_ports():
        environment = os.environ | ANY_LOAD | {"DATABASE_URL": url, "DATA_FOLDER": str(tmp_path)}
        command = [sys.executable, str(SECTION / "main.py"), "--once"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.search(r"(\d+) of (\d+) files sent and acknowledged", done.stdout)
    assert found
    assert found[1] == found[2]
    assert f"{found[1]} results, 0 quarantined" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        *(["--nonsense"], ["fly"], ["ingest"], ["receiver", "--port", "x"], ["web", "--port", "65536"]),
        *(["receiver", "--processes", "0"], ["worker", "--queues", "middle"]),
    ],
)
def test_wrong_usage_is_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    assert ended.value.code == 2


def test_an_invalid_folder_is_one_line() -> None:
    command = [sys.executable, str(SECTION / "main.py"), "ingest", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "ERROR: /nowhere: not a folder; check the path\n")


@pytest.mark.parametrize("part", ["receiver", "worker", "maintenance"])
def test_a_database_without_tables_is_one_line(part: str) -> None:
    name = f"empty_{os.getpid()}"
    administer(f'CREATE DATABASE "{name}"')
    try:
        environment = os.environ | {"DATABASE_URL": url_of(name)}
        options = ["--port", str(free_port())] if part == "receiver" else []
        command = [sys.executable, str(SECTION / "main.py"), part, *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    finally:
        administer(f'DROP DATABASE "{name}" WITH (FORCE)')
    assert done.returncode == 1
    assert done.stderr.endswith("the database of DATABASE_URL lacks its tables; run manage.py migrate\n")
    assert done.stderr.count("\n") == 1


def test_an_unreachable_broker_is_one_line() -> None:
    environment = os.environ | {"BROKER_URL": "nonsense"}
    command = [sys.executable, str(SECTION / "main.py"), "maintenance"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    told = "ERROR: BROKER_URL must name a RabbitMQ: amqp://user:password@host:5672//\n"
    assert (done.returncode, done.stderr) == (1, told)


@pytest.mark.parametrize("part", ["web", "receiver"])
def test_a_port_in_use_is_one_line(part: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, str(SECTION / "main.py"), part, "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    message = f"ERROR: 127.0.0.1:{port} is in use or cannot be bound; choose another with --port\n"
    assert (done.returncode, done.stderr) == (1, message)


def test_every_command_and_option_is_in_the_readme() -> None:
    (commands,) = [action for action in main.build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    for name, command in commands.choices.items():
        assert f"main.py {name}" in README
        for option in (option for action in command._actions for option in action.option_strings):
            assert option in README or option in ("-h", "--help"), option


def test_every_setting_is_in_the_readme() -> None:
    settings = (SECTION / "config" / "settings.py").read_text(encoding="utf-8")
    named = re.findall(r"^([A-Z_]{5,}) +[a-z0-9]", settings.partition('"""')[2].partition('"""')[0], re.MULTILINE)
    assert len(named) > 8
    assert [name for name in named if name not in README] == []


def test_every_module_of_the_readme_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.(?:py|yml|yaml|template))`", README))
    assert len(named) > 15
    assert [name for name in named if not (SECTION / name).exists()] == []


def test_every_dependency_has_its_reason_in_the_readme() -> None:
    for line in (SECTION / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            assert re.split(r"[>=<;\[ ]", line)[0] in README


DESIGN = "".join((SECTION / "design" / name).read_text(encoding="utf-8") for name in ("README.md", "simulation.md"))


def test_every_name_of_the_design_exists() -> None:
    named = set(re.findall(r"`((?:\w+/)*[\w.-]+\.(?:py|yaml|yml|json|template))`", DESIGN))
    assert len(named) > 40
    assert [name for name in named if not (SECTION / name).exists()] == []
    settings = (SECTION / "config" / "settings.py").read_text(encoding="utf-8")
    assert [word for word in re.findall(r"`([A-Z]+_[A-Z_]+)`", DESIGN) if word not in settings] == []
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in README.splitlines()
        if line.startswith("#")
    }
    assert [anchor for anchor in re.findall(r"\.\./README\.md#([\w-]+)", DESIGN) if anchor not in headings] == []
    for link in re.findall(r"\]\(([\w./-]+)[)#]", DESIGN + README.replace("](design/", "](")):
        assert (SECTION / "design" / link).exists() or (SECTION / link).exists(), link


def test_the_metrics_of_the_design_are_exported() -> None:
    code = "".join((SECTION / name).read_text() for name in ("core/metrics.py", "jobs/collectors.py"))
    assert set(re.findall(r"`(dicom_\w+)`", DESIGN)) == set(re.findall(r'"(dicom_\w+)"', code))


def test_the_alerts_of_the_design_exist() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (SECTION / "deploy" / "alerts.yml").read_text()))
    assert set(re.findall(r"alert (\w+)", DESIGN)) <= alerts


def test_readme_lists_exactly_the_commands_of_manage_py() -> None:
    there = {path.stem for path in SECTION.glob("*/management/commands/*.py")} - {"__init__"}
    django = {"migrate", "createsuperuser", "changepassword"}
    named = set(re.findall(r"manage\.py ([a-z]+)", README + DESIGN))
    assert there <= set(re.findall(r"manage\.py ([a-z]+)", README))
    assert named <= there | django


def test_every_test_of_the_design_exists() -> None:
    assert [name for name in re.findall(r"tests/\w+\.py", DESIGN) if not (SECTION / name).exists()] == []


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("main.py", ["certificates", "/proc/nowhere"]),
        ("main.py", ["web", "--client-ca", "/nowhere"]),
        ("manage.py", ["backup", "/proc/nowhere"]),
    ],
)
def test_missing_file_or_folder_gives_one_line(program: str, words: list[str]) -> None:
    port = ["--port", str(free_port())] if words[0] == "web" else []
    command = [sys.executable, str(SECTION / program), *words, *port]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "nowhere" in done.stderr


def test_manage_py_names_missing_production_settings_in_one_line() -> None:
    environment = {"PATH": os.environ["PATH"], "PROFILE": "production"}
    command = [sys.executable, str(SECTION / "manage.py"), "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "SECRET_KEY" in done.stderr
