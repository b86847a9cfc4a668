"""Measure section 1 and its alternatives in one run: `python benchmarks/run.py`, or `csv`, `sizes` or `dicom` alone.

Every run is a complete process; the programs alternate, REPEATS times; the tables show medians and peak memory.
Programs that are not installed are reported and left out. csvstat is slow: it reads a tenth of the file, once, and its
time is multiplied by ten.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

REPEATS = 5
MEGABYTES = 300
COLUMNS = 8
PROGRAMS = ("numpy", "polars", "duckdb", "pandas", "csvkit", "miller", "pydicom")
SECTION = Path(__file__).parent.parent
MAIN = str(SECTION / "main.py")

POLARS = """
import sys, polars as pl
frame = pl.scan_csv(sys.argv[1])
names = frame.collect_schema().names()
print(frame.select(*[pl.col(n).count().alias(n + "n") for n in names],
                   *[pl.col(n).mean().alias(n + "m") for n in names],
                   *[pl.col(n).std().alias(n + "s") for n in names]).collect(engine="streaming"))
"""
DUCKDB = """
import sys, duckdb
names = open(sys.argv[1]).readline().strip().split(",")
what = ", ".join(f"count({n}), avg({n}), stddev_samp({n})" for n in names)
print(duckdb.sql(f"select {what} from read_csv('{sys.argv[1]}')").fetchall())
"""
PANDAS = """
import sys, pandas
print(pandas.read_csv(sys.argv[1]).agg(["count", "mean", "std"]))
"""
BARE_DICOM = """
import sys, pathlib, pydicom
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    print(dataset.PatientName, dataset.StudyDate, dataset.Modality, path.name)
"""


class Run(NamedTuple):
    seconds: float
    megabytes: float


def run(command: list[str]) -> Run:
    """Run a command as a process of its own; return its wall time and peak memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[:3]} failed: {errors.decode(errors='replace')[-500:]}")
    return Run(seconds, usage.ru_maxrss / 1024)


def alternate(commands: dict[str, list[str]]) -> dict[str, Run]:
    """Return the medians of REPEATS runs of each command, one after the other in every round."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(REPEATS):
        for name, command in commands.items():
            print(f"  round {number + 1} of {REPEATS}: {name}        ", end="\r", file=sys.stderr)
            runs[name].append(run(command))
    return {
        name: Run(statistics.median(r.seconds for r in results), max(r.megabytes for r in results))
        for name, results in runs.items()
    }


def write_table(path: Path, kind: str, megabytes: int) -> Path:
    """Write a table of integers below a million, or of normal floats with six decimals."""
    rng = np.random.default_rng(1)
    rows = 50_000
    number_format = "%d" if kind == "integers" else "%.6f"
    with path.open("w", encoding="ascii") as file:
        file.write(",".join(f"c{number}" for number in range(COLUMNS)) + "\n")
        values = (
            rng.integers(0, 1_000_000, (rows, COLUMNS)) if kind == "integers" else rng.normal(100, 15, (rows, COLUMNS))
        )
        text = "\n".join(",".join(number_format % value for value in row) for row in values) + "\n"
        for _ in range(max(1, round(megabytes * 1e6 / len(text)))):
            file.write(text)
    return path


def build_csv_commands(path: Path) -> dict[str, list[str]]:
    python = sys.executable
    names = ",".join(f"c{number}" for number in range(COLUMNS))
    commands = {"section 1": [python, MAIN, "csv", str(path), "--json"]}
    for name, code in (("polars", POLARS), ("duckdb", DUCKDB), ("pandas", PANDAS)):
        if find_version(name):
            commands[name] = [python, "-c", code, str(path)]
    if miller := shutil.which("mlr"):
        commands["miller"] = [miller, "--icsv", "--ojson", "stats1", "-a", "count,mean,stddev", "-f", names, str(path)]
    return commands


def find_version(program: str) -> str | None:
    """Return the version of a package or of a command; None where it is not installed."""
    if program == "miller":
        command = shutil.which("mlr")
        return (
            command
            and subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
        )
    try:
        return version(program)
    except PackageNotFoundError:
        return None


def print_table(title: str, results: dict[str, Run], base: str) -> None:
    print(f"\n**{title}**\n\n| | seconds | times {base} | peak MB |\n| --- | ---: | ---: | ---: |")
    for name, summary in results.items():
        ratio = summary.seconds / results[base].seconds
        print(f"| {name} | {summary.seconds:.2f} | {ratio:.2f} | {summary.megabytes:.0f} |")


def measure_csv_alternatives(folder: Path) -> None:
    for kind in ("integers", "floats"):
        path = write_table(folder / f"{kind}.csv", kind, MEGABYTES)
        results = alternate(build_csv_commands(path))
        if find_version("csvkit"):
            small = write_table(folder / "small.csv", kind, MEGABYTES // 10)
            slow = run([sys.executable, "-m", "csvkit.utilities.csvstat", "--mean", str(small)])
            results["csvstat --mean (a tenth of the file, once, times ten)"] = Run(slow.seconds * 10, slow.megabytes)
        print_table(f"CSV, {MEGABYTES} MB of {kind}", results, "section 1")


def measure_csv_sizes(folder: Path) -> None:
    sizes = {"1 kB of floats": 0, "30 MB of floats": 30, "300 MB of floats": 300, "3 GB of floats": 3000}
    commands = {}
    for name, megabytes in sizes.items():
        path = write_table(folder / f"{megabytes}.csv", "floats", megabytes)
        if not megabytes:
            path.write_bytes(path.read_bytes()[:1000].rpartition(b"\n")[0] + b"\n")
        commands[name] = [sys.executable, MAIN, "csv", str(path), "--json"]
    for name, formats in (("IDs", ["{}", *["ID{:010}"] * 7]), ("names and prices", ["Name {}", '"{:,.2f}"'])):
        path = write_words(folder / f"{name}.csv", formats)
        commands[f"150 MB of {name}"] = [sys.executable, MAIN, "csv", str(path), "--json"]
    print_table("Section 1 on every size and on text", alternate(commands), "300 MB of floats")


def write_words(path: Path, formats: list[str], megabytes: int = 150) -> Path:
    """Write a table of text, one format for each column, with 2 million different values in each."""
    numbers = np.random.default_rng(1).permutation(2_000_000)
    with path.open("w", encoding="ascii") as file:
        file.write(",".join(f"c{number}" for number in range(len(formats))) + "\n")
        while file.tell() < megabytes * 1e6:
            for number in numbers[:100_000].tolist():
                file.write(",".join(form.format(number) for form in formats) + "\n")
            numbers = np.roll(numbers, 100_000)
    return path


def measure_dicom(folder: Path) -> None:
    from pydicom.data import get_testdata_file

    headers = folder / "headers"
    headers.mkdir()
    for number in range(2000):
        name = "CT_small.dcm" if number % 2 else "MR_small.dcm"
        shutil.copy(str(get_testdata_file(name, download=False)), headers / f"{number:04}.dcm")
    commands = {
        "bare pydicom": [sys.executable, "-c", BARE_DICOM, str(headers)],
        "section 1": [sys.executable, MAIN, "dicom", str(headers)],
    }
    print_table("DICOM, headers of 2,000 files", alternate(commands), "bare pydicom")
    large = write_multiframe(folder)
    small = str(get_testdata_file("CT_small.dcm", download=False))
    commands = {
        "a file of 39 kB": [sys.executable, MAIN, "dicom", small],
        "a multi-frame file of 500 MB": [sys.executable, MAIN, "dicom", str(large)],
    }
    print_table("DICOM, one header", alternate(commands), "a file of 39 kB")


def write_multiframe(folder: Path) -> Path:
    """Write 1,000 frames of 512 by 512 without holding them in memory: child processes inherit the peak."""
    import pydicom
    from pydicom.data import get_testdata_file

    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = 1000, 512, 512
    del dataset.PixelData, dataset[0xFFFCFFFC]
    path = folder / "large.dcm"
    dataset.save_as(path)
    size = 1000 * 512 * 512 * 2
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00OW\x00\x00" + size.to_bytes(4, "little"))
        file.truncate(file.tell() + size)
    return path


def main(argv: Sequence[str] | None = None) -> int:
    global REPEATS
    parts = {"csv": measure_csv_alternatives, "sizes": measure_csv_sizes, "dicom": measure_dicom}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=list(parts), help="only this part")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args(argv)
    REPEATS = arguments.repeats
    results = {name: find_version(name) for name in PROGRAMS}
    for name, number in results.items():
        if number is None:
            print(f"not installed, left out: {name}", file=sys.stderr)
    versions = ", ".join(f"{name} {number}" for name, number in results.items() if number)
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}; medians of {REPEATS}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for part, measure in parts.items():
            if arguments.part in (None, part):
                measure(Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
