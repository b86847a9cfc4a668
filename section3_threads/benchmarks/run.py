"""Compare section 3 with the plain answer: `make bench SECTION=section3_threads`.

Each program runs as a complete process, in turns; the table shows medians of REPEATS runs. Free-threaded Pythons
(python3.13t, python3.14t) are compared too when they are on the PATH and have the section's requirements.
"""

import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import NamedTuple

REPEATS = 5
SECTION = Path(__file__).parent.parent
MAIN, PLAIN = str(SECTION / "main.py"), str(Path(__file__).parent / "plain.py")


class Run(NamedTuple):
    """One run of a process: wall time, processor time (user and system) and peak memory."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def run(command: list[str]) -> Run | None:
    """Run a process; return None if it fails, for example because its Python lacks a package."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        return None
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def write_elements(path: Path, elements: int, numbers: int) -> Path:
    """Write elements of two rows of integers below 4096."""
    rng = random.Random(1)
    row = " ".join(str(rng.randrange(4096)) for _ in range(numbers // 2))
    with path.open("w", encoding="ascii") as file:
        for number in range(elements):
            head = "{" if number == 0 else ",\n"
            file.write(f'{head}"{number}": {{"id": "e{number}", "data": ["{row}", "{row}"], "deviceName": "RX 1"}}')
        file.write("}\n")
    return path


def build_commands(path: Path, log: Path) -> dict[str, list[str]]:
    """Return the command of each program by its name; section 3 comes first."""
    options = ["process", str(path.parent), path.name, "--log-file", str(log)]
    commands = {
        "section 3": [sys.executable, MAIN, *options],
        "section 3, 16 elements per thread": [sys.executable, MAIN, *options, "--elements-per-thread", "16"],
        "section 3, one thread at a time": [sys.executable, MAIN, *options, "--max-threads", "1"],
        "plain answer": [sys.executable, PLAIN, str(path), str(log)],
        "plain answer without threads": [sys.executable, PLAIN, str(path), str(log), "single"],
    }
    for name in ("python3.13t", "python3.14t"):
        if python := shutil.which(name):
            commands[f"section 3, {name}"] = [python, MAIN, *options]
            commands[f"plain answer, {name}"] = [python, PLAIN, str(path), str(log)]
        else:
            print(f"{name} is not on the PATH: skipped")
    return commands


def compare(title: str, path: Path) -> None:
    """Print a table of the medians and of their ratios to section 3."""
    log = path.parent / "log"
    commands = build_commands(path, log)
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(REPEATS):
        for name, command in commands.items():
            print(f"  round {number + 1} of {REPEATS}: {name:40}", end="\r", file=sys.stderr)
            log.unlink(missing_ok=True)
            if result := run(command):
                runs[name].append(result)
    print(f"\n**{title}**\n\n| | seconds | ratio | processor seconds | ratio | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    base: Run | None = None
    for name, results in runs.items():
        if not results:
            print(f"| {name} | failed | | | | |")
            continue
        middle = Run(*map(median, zip(*results, strict=True)))
        base = base or middle
        wall = f"{middle.seconds:.2f} | {middle.seconds / base.seconds:.1f}"
        cpu = f"{middle.cpu_seconds:.2f} | {middle.cpu_seconds / base.cpu_seconds:.1f}"
        print(f"| {name} | {wall} | {cpu} | {middle.megabytes:.0f} |")


def get_version(package: str) -> str:
    """Return the package's version, or "missing"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def main() -> int:
    """Run both comparisons."""
    packages = ", ".join(f"{name} {get_version(name)}" for name in ("numpy", "pysimdjson"))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {packages}; medians of {REPEATS}")
    with tempfile.TemporaryDirectory() as folder:
        compare("40 elements of 200,000 numbers", write_elements(Path(folder, "large.json"), 40, 200_000))
        compare("5,000 elements of 50 numbers", write_elements(Path(folder, "small.json"), 5_000, 50))
    return 0


if __name__ == "__main__":
    sys.exit(main())
