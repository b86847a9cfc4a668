"""Test the repository: isolated sections, clean locks, a helpful set-up, a README whose links lead somewhere."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from check_isolation import find_violations

ROOT = Path(__file__).parent.parent.parent
SECTIONS = sorted(path for path in ROOT.glob("section[1-9]_*") if (path / "main.py").exists())
LOCKS = sorted(ROOT.glob("*.lock"))
for_each_section = pytest.mark.parametrize("section", SECTIONS, ids=lambda path: path.name)


def main_arguments(section: Path) -> list[str]:
    """Sections 4 and 5 are services, which end by themselves only with --once."""
    return ["--once"] if section.name[7] in "45" else []


@for_each_section
def test_section_runs_from_a_copy_of_its_folder(section: Path, tmp_path: Path) -> None:
    shutil.copytree(section, tmp_path / section.name, ignore=shutil.ignore_patterns("__pycache__", ".*", "data"))
    command = [sys.executable, "-E", "-s", str(tmp_path / section.name / "main.py"), *main_arguments(section)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout


@for_each_section
def test_section_without_dependencies_works_or_explains_how_to_install(section: Path) -> None:
    bare = [sys.executable, "-E", "-S", str(section / "main.py"), *main_arguments(section)]
    result = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, check=False)
    if section.name.startswith("section3"):  # only large files need its dependencies
        assert result.returncode == 0
        return
    assert result.returncode != 0
    assert len(result.stderr.splitlines()) == 1
    assert "pip install -r" in result.stderr


@for_each_section
def test_section_has_required_files_workflow_and_badge(section: Path) -> None:
    for part in ("main.py", "README.md", "requirements.txt", "conftest.py", "tests"):
        assert (section / part).exists(), part
    workflow = f"section{section.name[7]}.yml"
    assert f"section: {section.name}\n" in (ROOT / ".github" / "workflows" / workflow).read_text()
    assert f"(../../actions/workflows/{workflow}/badge.svg)" in (ROOT / "README.md").read_text()


@for_each_section
def test_bare_pytest_collects_the_tests_in_each_section(section: Path) -> None:
    pytest_script = Path(sys.executable).with_name("pytest")
    result = subprocess.run([pytest_script, "--collect-only"], cwd=section, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_make_test_of_one_section_runs_only_that_section() -> None:
    command = ["make", "--dry-run", "--no-print-directory", "test", "SECTION=section2_oop", "VENV=none"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "for section in section2_oop; do" in printed


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_pins_each_package_with_a_hash_and_names_no_host(lock: Path) -> None:
    text = lock.read_text()
    pins = re.findall(r"^(\S+)==\S+.*\\\n((?: +--hash=sha256:[0-9a-f]{64}.*\n)+)", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)) > 0
    assert not re.search(r"https?:|index-url|find-links|file:", text)


def test_import_of_another_section_is_reported(tmp_path: Path) -> None:
    for name, code in {
        "section1_a": "import section2_b",
        "section2_b": "x = 'section1_a/x'\nimport only_in_one",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text(code)
    (tmp_path / "section1_a" / "only_in_one.py").touch()
    assert [line.split(": ")[0] for line in find_violations(tmp_path)] == [
        "section1_a/main.py:1",
        "section2_b/main.py:2",
        "section2_b/main.py:1",
    ]


def test_import_of_a_section_module_is_not_a_violation(tmp_path: Path) -> None:
    for name in ("section1_a", "section2_b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("import embedded, json")
        (tmp_path / name / "embedded.py").touch()
    assert list(find_violations(tmp_path)) == []


def run_environment_script(tmp_path: Path, python: str) -> subprocess.CompletedProcess[str]:
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


def test_outdated_python_gives_one_line_with_the_remedy(tmp_path: Path) -> None:
    result = run_environment_script(tmp_path, "exit 1")
    assert result.returncode == 1
    assert result.stderr.startswith("This project needs Python 3.11 or newer: install it")
    assert len(result.stderr.splitlines()) == 1


def test_python_without_venv_gives_one_line_with_the_remedy(tmp_path: Path) -> None:
    without_venv = f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"'
    result = run_environment_script(tmp_path, without_venv)
    assert result.returncode == 1
    assert result.stderr == "Python's venv module is missing: install it (Debian, Ubuntu: apt install python3-venv)\n"


def test_existing_environment_is_reused_silently(tmp_path: Path) -> None:
    (tmp_path / "a.lock").touch()
    command = ["sh", str(ROOT / "tools" / "environment.sh"), "a.lock"]
    environment = os.environ | {"PYTHON": sys.executable}
    first = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert first.stdout.endswith("Environment ready.\n")
    assert second.stdout == second.stderr == ""


def test_make_help_lists_every_target() -> None:
    output = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "coverage", "lint", "bench", "lock", "clean"):
        assert f"make {target} " in output


def readme_links() -> Iterator[tuple[str, str]]:
    """Yield text and target of every relative link in the README, badges apart."""
    for text, target in re.findall(r"\[([^\]\[]*)\]\(([^)\s]+)\)", (ROOT / "README.md").read_text()):
        if not target.startswith(("http", "../../actions", "#")):
            yield text, target


@pytest.mark.parametrize(("text", "target"), list(readme_links()))
def test_readme_link_leads_to_the_file_and_the_line_it_names(text: str, target: str) -> None:
    path, _, line = target.partition("#L")
    assert (ROOT / path).exists()
    if line:
        name = text.strip("`").split(".")[-1].removesuffix("()")
        assert name in (ROOT / path).read_text().splitlines()[int(line) - 1]


@for_each_section
def test_names_of_tests_are_under_80_characters(section: Path) -> None:
    for path in sorted((section / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef):
                assert len(node.name) < 80, f"{path.relative_to(ROOT)}: {node.name}"
