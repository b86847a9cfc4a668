"""Section 3 beside the plain answer, in one run: `make bench SECTION=section3_threads`.

Whole processes, in turns, medians of REPEATS. Where a free-threaded Python is on the PATH (python3.13t, python3.14t)
with the section's requirements, it runs too.
"""

import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

REPEATS = 5
SECTION = Path(__file__).parent.parent
MAIN, PLAIN = str(SECTION / "main.py"), str(Path(__file__).parent / "plain.py")


class Run(NamedTuple):
    seconds: float
    megabytes: float


def run(command: list[str]) -> Run:
    """One run as a process of its own: wall time and peak memory."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} failed")
    return Run(time.perf_counter() - start, usage.ru_maxrss / 1024)


def write_elements(path: Path, elements: int, numbers: int, *, form: str = "integers") -> Path:
    """Elements of two rows of numbers below 4096."""
    rng = random.Random(1)
    row = [
        str(rng.randrange(4096)) if form == "integers" else f"{rng.uniform(0, 4096):.3f}" for _ in range(numbers // 2)
    ]
    data = '"' + " ".join(row) + '"'
    with path.open("w", encoding="ascii") as file:
        for number in range(elements):
            head = "{" if number == 0 else ",\n"
            file.write(f'{head}"{number}": {{"id": "e{number}", "data": [{data}, {data}], "deviceName": "RX 1"}}')
        file.write("}\n")
    return path


def pythons() -> Iterator[tuple[str, str]]:
    yield "", sys.executable
    for name in ("python3.13t", "python3.14t"):
        if found := shutil.which(name):
            yield f", {name}", found


def commands(path: Path, log: Path) -> dict[str, list[str]]:
    found = {}
    for suffix, python in pythons():
        found[f"section 3{suffix}"] = [python, MAIN, "process", str(path.parent), path.name, "--log-file", str(log)]
        found[f"plain answer{suffix}"] = [python, PLAIN, str(path), str(log)]
    found["plain answer without threads"] = [sys.executable, PLAIN, str(path), str(log), "single"]
    found["section 3, one thread at a time"] = [*found["section 3"], "--max-threads", "1"]
    return found


def compare(title: str, path: Path, log: Path) -> None:
    """Medians of whole processes, and what is left of them without the start: the same program on one small element."""
    tiny = write_elements(path.parent / "tiny.json", 1, 2)
    starts: dict[str, list[Run]] = {name: [] for name in commands(tiny, log)}
    runs: dict[str, list[Run]] = {name: [] for name in commands(path, log)}
    for number in range(REPEATS):
        for name, command in commands(path, log).items():
            print(f"  round {number + 1} of {REPEATS}: {name}          ", end="\r", file=sys.stderr)
            log.unlink(missing_ok=True)
            runs[name].append(run(command))
            starts[name].append(run(commands(tiny, log)[name]))
    whole, start = (
        {name: statistics.median(one.seconds for one in found) for name, found in of.items()} for of in (runs, starts)
    )
    work = {name: whole[name] - start[name] for name in whole}
    print(f"\n**{title}**\n\n| | seconds | times section 3 | without start | times section 3 | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in whole:
        ratios = whole[name] / whole["section 3"], work[name] / work["section 3"]
        memory = max(one.megabytes for one in runs[name])
        print(f"| {name} | {whole[name]:.2f} | {ratios[0]:.1f} | {work[name]:.2f} | {ratios[1]:.1f} | {memory:.0f} |")


def large_file(folder: Path) -> None:
    path = write_elements(folder / "large.json", 1_000_000, 500)
    found = run([sys.executable, MAIN, "process", str(folder), path.name, "--log-file", os.devnull])
    size = path.stat().st_size / 1e9
    print(f"\nOne million elements in {size:.1f} GB: {found.seconds:.0f} s, peak {found.megabytes:.0f} MB")


def main() -> int:
    names = ("numpy", "pysimdjson")
    versions = ", ".join(f"{name} {version(name)}" for name in names if has(name))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}; medians of {REPEATS}")
    if len(list(pythons())) == 1:
        print("no free-threaded Python on the PATH")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "log"
        compare("40 elements of 200,000 numbers", write_elements(folder / "a.json", 40, 200_000), log)
        compare("5,000 elements of 50 numbers", write_elements(folder / "b.json", 5_000, 50), log)
        large_file(folder)
    return 0


def has(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
