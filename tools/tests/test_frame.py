"""The frame holds: sections stand alone, locks are clean, set-up speaks plainly."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from check_isolation import violations

ROOT = Path(__file__).parent.parent.parent
SECTIONS = sorted(path for path in ROOT.glob("section[1-9]_*") if (path / "main.py").exists())
LOCKS = sorted(ROOT.glob("*.lock"))
BY_NAME = [path.name for path in SECTIONS]


def once(section: Path) -> list[str]:
    """The services go on until they are told otherwise."""
    return ["--once"] if section.name[7] in "45" else []


@pytest.mark.parametrize("section", SECTIONS, ids=BY_NAME)
def test_a_section_runs_when_only_its_folder_is_copied_out(section: Path, tmp_path: Path) -> None:
    shutil.copytree(section, tmp_path / section.name, ignore=shutil.ignore_patterns("__pycache__", ".*", "data"))
    command = [sys.executable, "-E", "-s", str(tmp_path / section.name / "main.py"), *once(section)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("section", SECTIONS, ids=BY_NAME)
def test_a_section_without_its_dependencies_says_in_one_line_how_to_get_them(section: Path) -> None:
    bare = [sys.executable, "-E", "-S", str(section / "main.py"), *once(section)]
    done = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "pip install -r" in done.stderr


@pytest.mark.parametrize("section", SECTIONS, ids=BY_NAME)
def test_a_section_has_its_parts_its_workflow_and_its_badge(section: Path) -> None:
    for part in ("main.py", "README.md", "requirements.txt", "tests"):
        assert (section / part).exists(), part
    workflow = f"section{section.name[7]}.yml"
    assert f"section: {section.name}\n" in (ROOT / ".github" / "workflows" / workflow).read_text()
    assert f"(../../actions/workflows/{workflow}/badge.svg)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("lock", LOCKS, ids=[path.name for path in LOCKS])
def test_a_lock_pins_every_package_with_a_hash_and_names_no_host(lock: Path) -> None:
    text = lock.read_text()
    pins = re.findall(r"^(\S+)==\S+.*\\\n((?: +--hash=sha256:[0-9a-f]{64}.*\n)+)", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)) > 0
    assert not re.search(r"https?:|index-url|find-links|file:", text)


def test_an_import_of_another_section_is_found(tmp_path: Path) -> None:
    for name, code in {
        "section1_a": "import section2_b",
        "section2_b": "x = 'section1_a/x'\nimport only_in_one",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text(code)
    (tmp_path / "section1_a" / "only_in_one.py").touch()
    assert [line.split(": ")[0] for line in violations(tmp_path)] == [
        "section1_a/main.py:1",
        "section2_b/main.py:2",
        "section2_b/main.py:1",
    ]


def test_modules_of_its_own_are_no_violation(tmp_path: Path) -> None:
    for name in ("section1_a", "section2_b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("import embedded, json")
        (tmp_path / name / "embedded.py").touch()
    assert list(violations(tmp_path)) == []


def set_up(tmp_path: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up in an empty folder, where only this one Python can be found."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("cat", "rm", "sh"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "python3").write_text(f"#!{shutil.which('sh')}\n{python}\n")
    (tools / "python3").chmod(0o755)
    (tmp_path / "a.lock").touch()
    command = [str(tools / "sh"), str(ROOT / "tools" / "environment.sh"), "a.lock"]
    environment = {"PATH": str(tools), "HOME": os.environ.get("HOME", "")}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def test_a_python_that_is_too_old_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    done = set_up(tmp_path, "exit 1")
    assert done.returncode == 1
    assert done.stderr.startswith("This project needs Python 3.11 or newer: install it")
    assert len(done.stderr.splitlines()) == 1


def test_a_python_without_venv_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    without_venv = f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"'
    done = set_up(tmp_path, without_venv)
    assert done.returncode == 1
    assert done.stderr == "Python's venv module is missing: install it (Debian, Ubuntu: apt install python3-venv)\n"


def test_an_environment_that_is_there_is_taken_without_a_word() -> None:
    command = ["sh", "tools/environment.sh", "requirements.lock"]
    environment = os.environ | {"PYTHON": sys.executable}
    if not (ROOT / ".venv" / "made-from").exists():
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


def test_make_help_names_every_target() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "lint", "bench", "lock", "clean"):
        assert f"make {target} " in said
