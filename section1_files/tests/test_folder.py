import json
import os
import socket
from pathlib import Path

import pytest

import main
from support import Run


def test_listing_counts_and_names_all_entries_including_hidden(tmp_path: Path, run: Run) -> None:
    for name in ("b.txt", "a.txt", ".hidden"):
        (tmp_path / name).touch()
    outcome = run("list", tmp_path)
    assert outcome.status == 0
    assert outcome.output.splitlines() == [f"{tmp_path}: 3 elements", "  .hidden", "  a.txt", "  b.txt"]


def test_list_folder_contents_returns_the_entries(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    entries = main.list_folder_contents(tmp_path)
    assert entries is not None
    assert [entry.name for entry in entries] == ["a"]


def test_an_empty_folder_has_no_elements(tmp_path: Path, run: Run) -> None:
    assert run("list", tmp_path).output == f"{tmp_path}: 0 elements\n"


def test_long_listing_shows_the_kind_of_each_entry(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1500)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        listing = json.loads(run("list", tmp_path, "--long", "--json").output)
    kinds = {entry["name"]: entry["kind"] for entry in listing["entries"]}
    assert kinds == {
        "dangling": "broken link",
        "file": "file",
        "folder": "folder",
        "link": "link",
        "pipe": "pipe",
        "socket": "socket",
    }


@pytest.mark.parametrize(("size", "expected"), [(0, "0 B"), (1023, "1023 B"), (1500, "1.5 KiB"), (5 << 20, "5.0 MiB")])
def test_long_listing_shows_readable_sizes(tmp_path: Path, run: Run, size: int, expected: str) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(size)
    assert expected in run("list", tmp_path, "--long").output


def test_non_utf8_name_is_escaped_and_its_bytes_are_in_the_json(tmp_path: Path, run: Run) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.dcm", "wb"):  # noqa: PTH123 (a name that is not text)
        pass
    assert "caf\\udce9.dcm" in run("list", tmp_path).output
    (entry,) = json.loads(run("list", tmp_path, "--json").output)["entries"]
    assert bytes.fromhex(entry["name_bytes"]) == b"caf\xe9.dcm"


def test_escape_sequences_in_names_are_not_printed(tmp_path: Path, run: Run) -> None:
    (tmp_path / "a\x1b[31mb\nc").touch()
    assert "  a\\x1b[31mb\\nc\n" in run("list", tmp_path).output


def test_listing_counts_100000_entries(tmp_path: Path, run: Run) -> None:
    for number in range(100_000):
        if number % 30_000:  # hard links are fast to create, but ext4 allows 65,000 per file
            os.link(tmp_path / str(number - number % 30_000), tmp_path / str(number))
        else:
            (tmp_path / str(number)).touch()
    outcome = run("list", tmp_path)
    assert outcome.output.startswith(f"{tmp_path}: 100,000 elements\n")


def test_missing_folder_is_one_logged_line(tmp_path: Path, run: Run) -> None:
    outcome = run("list", tmp_path / "none")
    assert (outcome.status, outcome.output) == (1, "")
    assert outcome.log == [f"{tmp_path}/none: no such folder; check the path"]


def test_file_instead_of_a_folder_is_one_logged_line(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").touch()
    outcome = run("list", tmp_path / "file")
    assert outcome.status == 1
    assert outcome.log == [f"{tmp_path}/file: a file, not a folder; name the folder that holds it"]
