"""Invalid input gives one logged line, exit status 1 and no partial report."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import csv_source
import main
from support import PICTURES, Run, Write

MAIN = Path(main.__file__)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file; fetch or export it again"),
        (b"\n\n \n", "no data; fetch or export it again"),
        (PNG, "not a CSV file but a PNG image"),
        (b"%PDF-1.7", "not a CSV file but a PDF document"),
        (b"PK\x03\x04", "not a CSV file but a ZIP archive or an Excel workbook (export it as CSV)"),
        (bytes(range(32)) * 8, "not a CSV file but binary data"),
        (b"a,b\n1,2\n3,\0004\n", "line 3: NUL byte: the file is damaged or not text"),
        (b'a,"b\n1,2\n', "line 1: a quoted cell in this record does not end; close its quote"),
        (b'a,b\n1,"2\n3,4\n', "line 2: a quoted cell in this record does not end; close its quote"),
        (
            b'a,b\n"x",1\n' * 30_000 + b'"y,2\n',
            "line 60,001: a quoted cell in this record does not end; close its quote",
        ),
    ],
)
def test_file_that_is_not_csv_is_rejected(run: Run, csv_file: Write, content: bytes, message: str) -> None:
    path = csv_file(content)
    outcome = run("csv", path)
    assert (outcome.status, outcome.output, outcome.log) == (1, "", [f"{path}: {message}"])


def test_error_for_a_dicom_file_recommends_the_dicom_command(run: Run) -> None:
    outcome = run("csv", PICTURES, "CT_small.dcm")
    assert outcome.status == 1
    assert "a DICOM file; read it with the dicom command" in outcome.log[0]


def test_missing_file_is_rejected(run: Run, tmp_path: Path) -> None:
    assert run("csv", tmp_path, "none.csv").log == [
        f"{tmp_path}/none.csv: no such file; check the path and the file's name"
    ]


def test_folder_is_rejected(run: Run, tmp_path: Path) -> None:
    assert run("csv", tmp_path).log == [f"{tmp_path}: is a folder; name a file inside it"]


def test_pipe_is_rejected_without_waiting_for_a_writer(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in run("csv", tmp_path, "pipe").log[0]


def test_file_name_with_a_nul_byte_is_rejected(run: Run, tmp_path: Path) -> None:
    assert run("csv", tmp_path, "a\0b").status == 1


@pytest.mark.parametrize("encoding", ["klingon", "base64"])
def test_unknown_encoding_is_rejected(run: Run, csv_file: Write, encoding: str) -> None:
    outcome = run("csv", csv_file("a\n1\n"), "--encoding", encoding)
    assert outcome.log[0].endswith(f"{encoding}: unknown encoding; try utf-8 or windows-1252")


@pytest.mark.parametrize("encoding", ["utf-16", "ascii"])
def test_wrong_encoding_is_rejected(run: Run, csv_file: Write, encoding: str) -> None:
    outcome = run("csv", csv_file("ä,b\n1,2\n"[:-1]), "--encoding", encoding)
    assert outcome.status == 1
    assert len(outcome.log) == 1


def test_lone_surrogate_is_rejected(run: Run, csv_file: Write) -> None:
    path = csv_file("v\n\\ud800\n")
    outcome = run("csv", path, "--encoding", "unicode-escape")
    assert outcome.status == 1
    assert outcome.log == [f"{path}: not in the encoding unicode-escape; name the right one with --encoding"]


def test_overlong_line_is_rejected(run: Run, csv_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "MAX_LINE_BYTES", 1 << 20)
    outcome = run("csv", csv_file(b"a" * (2 << 20)))
    assert outcome.log[0].endswith("a line is longer than 1 MiB; is this a CSV file?")


@pytest.mark.parametrize(
    ("content", "message"),
    [("a,b\n", "no rows below the header"), ("a\nx\n", "no numeric columns, nothing to average")],
)
def test_table_without_numbers_is_printed_and_logged_as_an_error(
    run: Run, csv_file: Write, content: str, message: str
) -> None:
    outcome = run("csv", csv_file(content))
    assert outcome.status == 1
    assert "Columns: a" in outcome.output
    assert outcome.log[0].endswith(message)


def test_file_without_read_permission_is_rejected(run: Run) -> None:
    run("csv", PICTURES, "none.csv")  # the late imports need the rights of root
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a folder that every user can enter
        Path(folder).chmod(0o755)
        path = Path(folder, "secret.csv")
        path.write_text("a\n1\n", encoding="utf-8")
        path.chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            outcome = run("csv", path)
        finally:
            if root:
                os.seteuid(0)
    assert outcome.status == 1
    assert outcome.log == [f"{path}: cannot be read (permission denied); check its permissions"]


def test_closed_output_pipe_is_not_an_error(csv_file: Write) -> None:
    path = csv_file("a\n1\n")
    with subprocess.Popen(
        [sys.executable, str(MAIN), "csv", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
