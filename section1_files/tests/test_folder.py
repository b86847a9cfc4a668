import json
import os
import socket
from pathlib import Path

import pytest

import main
from support import Run


def test_counts_and_names_every_element_hidden_ones_too(tmp_path: Path, run: Run) -> None:
    for name in ("b.txt", "a.txt", ".hidden"):
        (tmp_path / name).touch()
    outcome = run("list", tmp_path)
    assert outcome.status == 0
    assert outcome.output.splitlines() == [f"{tmp_path}: 3 elements", "  .hidden", "  a.txt", "  b.txt"]


def test_returns_what_it_prints(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    entries = main.list_folder_contents(tmp_path)
    assert entries is not None
    assert [entry.name for entry in entries] == ["a"]


def test_an_empty_folder_has_no_elements(tmp_path: Path, run: Run) -> None:
    assert run("list", tmp_path).output == f"{tmp_path}: 0 elements\n"


def test_details_tell_the_kinds_apart(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1500)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        facts = json.loads(run("list", tmp_path, "--long", "--json").output)
    kinds = {entry["name"]: entry["kind"] for entry in facts["entries"]}
    assert kinds == {
        "dangling": "broken link",
        "file": "file",
        "folder": "folder",
        "link": "link",
        "pipe": "pipe",
        "socket": "socket",
    }


@pytest.mark.parametrize(("size", "shown"), [(0, "0 B"), (1023, "1023 B"), (1500, "1.5 KiB"), (5 << 20, "5.0 MiB")])
def test_details_show_sizes_for_people(tmp_path: Path, run: Run, size: int, shown: str) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(size)
    assert shown in run("list", tmp_path, "--long").output


def test_a_name_that_is_not_utf8_is_shown_and_can_be_found_again(tmp_path: Path, run: Run) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.dcm", "wb"):  # noqa: PTH123 (a name that is no text)
        pass
    assert "caf\\udce9.dcm" in run("list", tmp_path).output
    (entry,) = json.loads(run("list", tmp_path, "--json").output)["entries"]
    assert bytes.fromhex(entry["name_bytes"]) == b"caf\xe9.dcm"


def test_an_escape_sequence_in_a_name_does_not_reach_the_terminal(tmp_path: Path, run: Run) -> None:
    (tmp_path / "a\x1b[31mb\nc").touch()
    assert "  a\\x1b[31mb\\nc\n" in run("list", tmp_path).output


def test_a_hundred_thousand_entries_are_counted(tmp_path: Path, run: Run) -> None:
    for number in range(100_000):
        if number % 30_000:  # a link is quicker than a file, but a file has room for 65,000 at most
            os.link(tmp_path / str(number - number % 30_000), tmp_path / str(number))
        else:
            (tmp_path / str(number)).touch()
    outcome = run("list", tmp_path)
    assert outcome.output.startswith(f"{tmp_path}: 100,000 elements\n")


def test_a_missing_folder_is_one_logged_line(tmp_path: Path, run: Run) -> None:
    outcome = run("list", tmp_path / "none")
    assert (outcome.status, outcome.output) == (1, "")
    assert outcome.log == [f"{tmp_path}/none: no such folder; check the path"]


def test_a_file_instead_of_a_folder_is_one_logged_line(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").touch()
    outcome = run("list", tmp_path / "file")
    assert outcome.status == 1
    assert outcome.log == [f"{tmp_path}/file: a file, not a folder; name the folder that holds it"]
