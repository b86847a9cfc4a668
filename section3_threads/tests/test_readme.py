"""The README agrees with the program."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

import main

SECTION = Path(main.__file__).parent
README = (SECTION / "README.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[str]:
    """Split into results and sort them: threads finish in any order."""
    return sorted(re.split(r"(?m)^(?=Element |\d+ elements)", text.strip()))


def test_command_prints_what_the_readme_shows(tmp_path: Path) -> None:
    expected = re.search(r"\$ python section3_threads/main\.py process \S+ elements\.json\n(.*?)```", README, re.DOTALL)
    assert expected is not None
    command = [sys.executable, str(SECTION / "main.py"), "process", str(SECTION / "sample"), "elements.json"]
    done = subprocess.run([*command, "--log-file", str(tmp_path / "log")], capture_output=True, text=True, check=True)
    assert [block.strip() for block in blocks(done.stdout)] == [block.strip() for block in blocks(expected[1])]


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = [action for action in main.build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(action.choices)


@pytest.mark.parametrize("command", commands())
def test_every_command_and_option_is_in_the_readme(command: str) -> None:
    assert f"main.py {command}" in README
    for action in commands()[command]._actions:
        for option in action.option_strings:
            assert option in README or option in ("-h", "--help"), option


def test_every_test_that_the_readme_names_exists() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", README)
    assert named
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_every_dependency_has_its_reason_in_the_readme() -> None:
    for line in (SECTION / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            assert re.split(r"[>=<; ]", line)[0] in README


def test_demo_shows_both_programs() -> None:
    done = subprocess.run([sys.executable, str(SECTION / "main.py")], capture_output=True, text=True, check=True)
    assert "even 200\n" in done.stdout
    assert "Element aabbcc1 (RX 1)" in done.stdout
    assert "'-87' is negative (row 2, position 2)" in done.stderr
