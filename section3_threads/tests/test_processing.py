"""Number and lifetime of the threads; completeness of results and log records."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import main
from processing import run_in_threads
from support import Run, Write, element, keyed, start

MAIN = str(Path(main.__file__))


def workers() -> list[threading.Thread]:
    """Return the live threads other than the main thread."""
    return [thread for thread in threading.enumerate() if thread is not threading.main_thread()]


@pytest.mark.parametrize("count", [1, 4, 5, 5000])
@pytest.mark.parametrize("limit", [1, 4])
def test_one_thread_per_element_and_never_more_than_the_limit(count: int, limit: int) -> None:
    seen: list[tuple[int, str, int]] = []

    def work(item: int) -> None:
        seen.append((item, threading.current_thread().name, len(workers())))

    run_in_threads(range(count), work, limit)
    assert sorted(item for item, _, _ in seen) == list(range(count))
    assert len({name for _, name, _ in seen}) == count
    assert max(alive for _, _, alive in seen) <= limit
    assert workers() == []


def test_four_elements_are_processed_at_the_same_time() -> None:
    together = threading.Barrier(4, timeout=10)
    met: list[int] = []
    run_in_threads(range(4), lambda _item: met.append(together.wait()))
    assert sorted(met) == [0, 1, 2, 3]


def test_new_thread_starts_as_soon_as_an_old_one_ends() -> None:
    """Block four elements and release one: the fifth starts while the other three are blocked."""
    let_go = [threading.Event() for _ in range(5)]
    begun = [threading.Event() for _ in range(5)]

    def work(item: int) -> None:
        begun[item].set()
        assert let_go[item].wait(10)

    running = threading.Thread(target=run_in_threads, args=(range(5), work))
    running.start()
    for event in begun[:4]:
        assert event.wait(10)
    assert not begun[4].is_set(), "no fifth thread while four are alive"
    let_go[2].set()
    assert begun[4].wait(10)
    for event in let_go:
        event.set()
    running.join(10)
    assert not running.is_alive()


def test_thread_has_ended_before_the_next_one_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    class EndsWhenJoined(threading.Thread):
        """A thread that stays alive after its work until it is joined."""

        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.joined = threading.Event()

        def run(self) -> None:
            super().run()
            self.joined.wait(10)

        def join(self, timeout: float | None = None) -> None:
            self.joined.set()
            super().join(timeout)

    monkeypatch.setattr(threading, "Thread", EndsWhenJoined)
    alive: list[int] = []
    run_in_threads(range(20), lambda _item: alive.append(len(workers())), 1)
    assert alive == [1] * 20


def test_elements_are_read_only_as_threads_end() -> None:
    taken: list[int] = []
    held = threading.Event()
    four_begun = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    def work(_item: int) -> None:
        four_begun.release()
        assert held.wait(10)

    running = threading.Thread(target=run_in_threads, args=(items(), work))
    running.start()
    for _ in range(4):
        assert four_begun.acquire(timeout=10)
    assert len(taken) <= 5
    held.set()
    running.join(10)
    assert len(taken) == 50


def test_results_of_the_example_are_printed(run: Run, json_file: Write, tmp_path: Path) -> None:
    path = json_file('{"1": {"id": "aabbcc1", "data": ["54 26 34", "75 87 75"], "deviceName": "RX 1"}}')
    outcome = run("process", path.parent, path.name, "--log-file", tmp_path / "log")
    assert (outcome.status, outcome.errors) == (0, [])
    assert outcome.output.splitlines() == [
        "Element aabbcc1 (RX 1)",
        "  average before normalisation  58.5",
        "  average after normalisation   0.6724137931034483",
        "  size of data                  6",
        "1 element processed",
    ]


@pytest.mark.parametrize("count", [1, 4, 5, 5000])
def test_log_has_one_complete_line_per_element(run: Run, json_file: Write, tmp_path: Path, count: int) -> None:
    path = json_file(keyed(*(element(number, f"{number} 1") for number in range(count))))
    run("process", path.parent, path.name, "--log-file", tmp_path / "log")
    lines = (tmp_path / "log").read_text().splitlines()
    ids = {line.split("] element ")[1].split(":")[0] for line in lines[:-1] if line.endswith(", size of data 2")}
    assert ids == {f"e{number}" for number in range(count)}
    assert len(lines) == count + 1
    assert lines[-1].endswith(f"{count} processed, 0 failed")


def test_results_of_elements_are_never_interleaved(run: Run, json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(*(element(number) for number in range(2000))))
    output = run("process", path.parent, path.name, "--log-file", tmp_path / "log").output.splitlines()[:-1]
    blocks = [output[start : start + 4] for start in range(0, len(output), 4)]
    assert {block[0] for block in blocks} == {f"Element e{number} (RX 1)" for number in range(2000)}
    assert {block[3] for block in blocks} == {"  size of data                  3"}


def test_two_processes_lose_no_record_of_a_shared_log(json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(*(element(number) for number in range(3000))))
    command = [sys.executable, MAIN, "process", str(path.parent), path.name, "--log-file", str(tmp_path / "log")]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 2 * (3000 + 1)
    assert all(line[:4].isdigit() and " INFO [" in line for line in lines)


def test_invalid_elements_are_logged_and_the_others_processed(run: Run, json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(element(1), element(2, "1 -2"), element(3, deviceName=5), element(4)))
    outcome = run("process", path.parent, path.name, "--log-file", tmp_path / "log")
    assert outcome.status == 1
    assert outcome.output.count("Element ") == 2
    assert sorted(outcome.errors[:-1]) == [
        "element e2, line 9: '-2' is negative (row 1, position 2)",
        "element e3, line 16: 'deviceName' must be a string",
    ]
    assert outcome.errors[-1] == f"{path}: 2 processed, 2 failed"
    assert "'-2' is negative (row 1, position 2)" in (tmp_path / "log").read_text()


def test_file_that_is_not_json_is_one_error(run: Run, json_file: Write, tmp_path: Path) -> None:
    path = json_file("# a heading")
    outcome = run("process", path.parent, path.name, "--log-file", tmp_path / "log")
    assert outcome.status == 1
    assert outcome.errors[0].startswith(f"{path}, line 1: not a JSON object")
    assert outcome.errors[1] == f"{path}: 0 processed, 1 failed"


def test_json_prints_one_object_per_element_and_error(run: Run, json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(element(1, "0 5"), element(2, "")))
    outcome = run("process", path.parent, path.name, "--json", "--log-file", tmp_path / "log")
    results = {said["id"]: said for said in map(json.loads, outcome.output.splitlines())}
    assert results == {
        "e1": {
            "id": "e1",
            "device_name": "RX 1",
            "average_before_normalization": 2.5,
            "average_after_normalization": 0.5,
            "data_size": 2,
        },
        "e2": {"id": "e2", "line": 9, "error": "data contains no numbers"},
    }


def test_control_characters_in_an_id_are_escaped(run: Run, json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(element(1, id="a\nINFO: b\x1b[2J")))
    outcome = run("process", path.parent, path.name, "--log-file", tmp_path / "log")
    assert "Element a\\nINFO: b\\x1b[2J (RX 1)" in outcome.output
    assert len((tmp_path / "log").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "message"), [("none.json", "no such file"), ("folder", "not a file"), ("a\0b", "no such file")]
)
def test_unreadable_file_is_one_error(run: Run, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    outcome = run("process", tmp_path, name, "--log-file", tmp_path / "log")
    assert outcome.status == 1
    assert len(outcome.errors) == 1
    assert message in outcome.errors[0]


def test_unwritable_log_is_one_error_before_processing(run: Run, json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(element(1)))
    outcome = run("process", path.parent, path.name, "--log-file", tmp_path / "none" / "log")
    assert (outcome.status, outcome.output) == (1, "")
    assert "the log cannot be written" in outcome.errors[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_full_disk_is_reported_without_a_traceback(json_file: Write) -> None:
    path = json_file(keyed(*(element(number) for number in range(2000))))
    command = [sys.executable, MAIN, "process", str(path.parent), path.name, "--log-file", "/dev/full"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "no space left on device" in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_closed_pipe_ends_processing_quietly(json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(*(element(number) for number in range(5000))))
    with start("process", path.parent, path.name, "--log-file", tmp_path / "log") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 0


def test_ctrl_c_completes_the_active_elements(json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(*(element(number) for number in range(100_000))))
    with start("process", path.parent, path.name, "--log-file", tmp_path / "log") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        printed = process.stdout.read()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 130
    assert printed.endswith(b"size of data                  3\n")
    lines = (tmp_path / "log").read_text().splitlines()
    assert 0 < len(lines) < 100_000
    assert lines[-1].endswith("size of data 3")


@pytest.mark.parametrize("threads", ["0", "-1", "x", "1001", "２"])
def test_invalid_number_of_threads_is_a_usage_error(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main.main(["process", ".", "x", "--max-threads", threads])
    assert left.value.code == 2
    assert "must be a whole number" in capsys.readouterr().err


def test_log_that_is_the_input_is_rejected_and_the_input_unchanged(run: Run, json_file: Write) -> None:
    path = json_file(keyed(element(1)))
    before = path.read_bytes()
    outcome = run("process", path.parent, path.name, "--log-file", path)
    assert outcome.status == 1
    assert outcome.errors == [f"{path}: is the input; choose another log with --log-file"]
    assert path.read_bytes() == before


def test_log_that_cannot_be_written_is_named(run: Run, json_file: Write) -> None:
    path = json_file(keyed(element(1)))
    outcome = run("process", path.parent, path.name, "--log-file", "/dev/full")
    assert outcome.status == 1
    assert outcome.errors[-1].startswith("/dev/full: cannot be written (no space left on device)")


def test_missing_file_is_reported_even_if_the_log_cannot_be_written(run: Run, tmp_path: Path) -> None:
    outcome = run("process", tmp_path, "none.json", "--log-file", "/dev/full")
    assert outcome.status == 1
    assert outcome.errors[0] == f"{tmp_path / 'none.json'}: no such file; check the folder and the file's name"
    assert outcome.errors[1].startswith("/dev/full: cannot be written")


def test_only_the_owner_can_read_the_log(run: Run, json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(element(1)))
    run("process", path.parent, path.name, "--log-file", tmp_path / "log")
    assert os.stat(tmp_path / "log").st_mode & 0o077 == 0  # noqa: PTH116


def test_main_works_with_a_redirected_stdout(json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(element(1)))
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main.main(["process", str(path.parent), path.name, "--log-file", str(tmp_path / "log")]) == 0
    assert output.getvalue().startswith("Element e1 (RX 1)\n")


def test_file_of_one_element_without_a_key_is_processed(run: Run, json_file: Write, tmp_path: Path) -> None:
    path = json_file(json.dumps(element(1)))
    outcome = run("process", path.parent, path.name, "--log-file", tmp_path / "log")
    assert (outcome.status, outcome.errors) == (0, [])
    assert outcome.output.startswith("Element e1 (RX 1)\n")


def test_killed_process_loses_no_printed_record(json_file: Write, tmp_path: Path) -> None:
    path = json_file(keyed(*(element(number) for number in range(100_000))))
    with start("process", path.parent, path.name, "--json", "--log-file", tmp_path / "log") as process:
        assert process.stdout is not None
        printed = [json.loads(process.stdout.readline())["id"] for _ in range(5)]
        process.kill()
    logged = (tmp_path / "log").read_text()
    assert logged.endswith("\n")
    assert all(f"element {id_}:" in logged for id_ in printed)


@pytest.mark.parametrize("size", [2, 7, 1000])
def test_thread_processes_several_small_elements(run: Run, json_file: Write, tmp_path: Path, size: int) -> None:
    path = json_file(keyed(*(element(number) for number in range(100)), element(100, "x")))
    log = tmp_path / "log"
    outcome = run("process", path.parent, path.name, "--json", "--elements-per-thread", size, "--log-file", log)
    assert {json.loads(line)["id"] for line in outcome.output.splitlines()} == {f"e{number}" for number in range(101)}
    threads = re.findall(r"(Thread-\d+)", log.read_text())
    assert len(threads) == 101
    assert max(threads.count(name) for name in threads) == min(size, 101)
