"""The README matches the program."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

import main
from support import PICTURES

SECTION = Path(main.__file__).parent
README = (SECTION / "README.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"^\$ python section1_files/main\.py (.+)\n((?:(?!\$|```).*\n)+)", README, re.MULTILINE)


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = [action for action in main.build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(action.choices)


@pytest.mark.parametrize(("arguments", "expected"), CONSOLE, ids=[arguments for arguments, _ in CONSOLE])
def test_readme_sessions_show_the_real_output(arguments: str, expected: str) -> None:
    command_line = arguments.replace("section1_files", SECTION.name).replace("/data", str(PICTURES)).split()
    process = subprocess.run(
        [sys.executable, str(SECTION / "main.py"), *command_line],
        cwd=SECTION.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    output = process.stdout.replace(SECTION.name, "section1_files").replace(str(PICTURES), "/data")
    assert output.rstrip() == expected.rstrip()


def test_readme_has_seven_sessions() -> None:
    assert len(CONSOLE) == 7


@pytest.mark.parametrize("command", commands())
def test_readme_documents_every_command_and_option(command: str) -> None:
    assert f"main.py {command} " in README
    for action in commands()[command]._actions:
        for option in action.option_strings:
            assert option in README or option in ("-h", "--help"), option


def test_modules_named_in_the_readme_exist() -> None:
    names = set(re.findall(r"`(\w+\.py)`", README))
    assert names <= {path.name for path in SECTION.glob("*.py")}


def test_readme_explains_every_dependency() -> None:
    lines = (SECTION / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if not line.startswith("#"):
            name = re.split(r"[>=<; ]", line)[0]
            assert name in README or name.removeprefix("pylibjpeg-") in README, name


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main.main(["dicom", "--help"])
    assert exit_info.value.code == 0
    assert "examples:" in capsys.readouterr().out


def test_usage_error_has_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main.main(["csv", "x", "--delimiter", "ab"])
    assert exit_info.value.code == 2
    assert "is not one ASCII character" in capsys.readouterr().err
