"""Section 1: list a folder, read a CSV file's statistics, read a DICOM file.

Without arguments: a demonstration on the sample folder. Python callers use the three functions: each prints its report
and returns it; an error is one line through `logging`, and the function returns None.
"""

import argparse
import csv
import functools
import json
import logging
import math
import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from errors import InputError, printable
from folder import Entry, list_entries, report_lines

if TYPE_CHECKING:
    from csv_dialect import Options
    from csv_statistics import CsvStatistics
    from dicom_report import DicomReport

OK, FAILED, INTERRUPTED = 0, 1, 130
HERE = Path(__file__).parent
P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("section1")


def log_errors(function: Callable[P, T]) -> Callable[P, T | None]:
    """Log an InputError of the function as one line, and return None instead."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            log.error("%s", error)  # noqa: TRY400 (one line, no traceback)
            return None

    return wrapper


@log_errors
def list_folder_contents(path: str | Path, *, details: bool = False, as_json: bool = False) -> list[Entry]:
    """Print the number of elements of a folder and their names, with `details` also kind, size and time.

    Returns the entries, hidden ones too, sorted by name; None when the folder cannot be read.
    """
    entries = list_entries(Path(path), details=details)
    if as_json:
        _print_json({"path": str(path), "count": len(entries), "entries": [entry.to_dict() for entry in entries]})
    else:
        _print_lines(report_lines(Path(path), entries))
    return entries


@log_errors
def read_csv(
    path: str | Path,
    filename: str = "",
    options: "Options | None" = None,
    *,
    as_json: bool = False,
) -> "CsvStatistics":
    """Print columns, rows, and for each numeric column average and standard deviation of a CSV file.

    The standard deviation is that of a sample (n - 1), unless the options ask for that of a population (n). The path
    `-` is standard input. A file without rows or numeric columns is reported, and logged as an error. Returns the
    statistics; None when the file cannot be read or is not CSV.
    """
    import csv_report
    from csv_statistics import compute_statistics

    statistics = compute_statistics(Path(path, filename), options)
    if as_json:
        _print_json(csv_report.to_dict(statistics))
    else:
        _print_lines(csv_report.report_lines(statistics))
    if not statistics.rows:
        log.error("%s: no rows below the header", statistics.path)
    elif not statistics.numeric_columns:
        log.error("%s: no numeric columns, nothing to average", statistics.path)
    return statistics


@log_errors
def read_dicom(
    path: str | Path,
    filename: str = "",
    *tags: object,
    as_json: bool = False,
    as_csv: bool = False,
    every: bool = False,
) -> "DicomReport":
    """Print patient's name, study date, modality and the data elements `tags` of a DICOM file.

    A tag is two consecutive numbers (`0x0008, 0x0016`), one number (`0x00080016`), a pair, or text: `"0008,0016"`, a
    keyword, or a path into sequences. With `every`, all data elements are printed, as a tree. Returns the report; None
    when the file cannot be read or is not DICOM.
    """
    import dicom_report
    from dicom_tags import parse_tags

    paths = parse_tags(tags)
    report = dicom_report.build_report(Path(path, filename), paths, every=every)
    if as_json:
        _print_json(report.to_dict())
    elif as_csv and every:
        _print_csv(dicom_report.csv_elements(report))
    elif as_csv:
        _print_csv([dicom_report.csv_header(paths), dicom_report.csv_row(report, paths)])
    else:
        _print_lines(dicom_report.report_lines(report, tree=every))
    if report.truncated:
        log.error("%s", InputError(report.path, "the file is truncated", "fetch it again"))
    return report


@log_errors
def read_dicom_folder(path: str | Path, *tags: object, as_json: bool = False, as_csv: bool = False) -> int:
    """Print a line for every DICOM file below a folder or in a ZIP archive, with `tags` as further columns.

    Returns the number of files that could not be read completely; None when the folder cannot be read.
    """
    import dicom_report
    from dicom_tags import parse_tags

    paths, failures = parse_tags(tags), 0
    results = dicom_report.report_folder(Path(path), paths)
    if as_csv:
        _print_csv([dicom_report.csv_header(paths)])
    elif not as_json:
        _print_lines([dicom_report.table_header(paths)])
    for result in results:
        failures += isinstance(result, InputError) or result.truncated
        if as_csv:
            _print_csv([dicom_report.csv_row(result, paths)])
        elif not as_json:
            _print_lines([dicom_report.table_line(Path(path), result, paths)])
        elif isinstance(result, InputError):
            _print_json({"path": printable(str(result.path)), "error": str(result)})
        else:
            _print_json(result.to_dict())
    if failures:
        log.error("%s", InputError(path, f"{failures:,} of its files could not be read completely"))
    return failures


@log_errors
def export_image(source: Path, target: Path, frame: int | None, window: tuple[float, float] | None) -> Path:
    """Write a frame (from 1) of a DICOM file as an image, or all frames side by side where `frame` is None."""
    from dicom_image import DicomImage, save_image

    image = DicomImage(source)
    save_image(image.render_montage(window) if frame is None else image.render(frame, window), target)
    log.info("image written: %s", printable(str(target)))
    for remark in image.remarks:
        log.warning("%s: %s", printable(str(target)), remark)
    return target


def _print_lines(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _print_csv(rows: Iterable[list[str]]) -> None:
    csv.writer(sys.stdout, lineterminator="\n").writerows(map(printable, row) for row in rows)


def _print_json(data: object) -> None:
    _print_lines([json.dumps(data, ensure_ascii=False, allow_nan=False)])


def demo() -> bool:
    """Run the commands on the sample folder and on files of pydicom's package; return whether all succeeded."""
    from pydicom.data import get_testdata_file

    sample = os.path.relpath(HERE / "sample")
    scans = str(Path(str(get_testdata_file("CT_small.dcm", download=False))).parent)
    success = True
    for words in (
        ["list", sample, "--long"],
        ["csv", sample, "dosis.csv", "devices.csv.gz", "vitals.csv"],
        ["dicom", scans, "CT_small.dcm", "0x0008", "0x0016", "PixelSpacing", "(0043,104E)", "PixelData"],
        ["dicom", scans, "rtplan.dcm", "BeamSequence[0].BeamName", "PatientWeight"],
        ["dicom", f"{scans}/dicomdirtests/77654033"],
    ):
        _print_lines(["", f"$ python section1_files/main.py {' '.join(words).replace(scans, '…')}"])
        arguments = build_parser().parse_args(words)
        success &= arguments.run(arguments)
    _print_lines(["", "Try your own: python section1_files/main.py --help"])
    return success


def build_parser() -> argparse.ArgumentParser:
    """Build the command line's parser."""
    top = argparse.ArgumentParser(
        prog="main.py",
        description="List a folder, read the statistics of a CSV file, read a DICOM file. "
        "Without arguments: a demonstration.",
        epilog="main.py COMMAND --help shows the options of a command, with examples.",
    )
    top.set_defaults(run=lambda _: demo())
    commands = top.add_subparsers(metavar="COMMAND")
    keep_lines = argparse.RawDescriptionHelpFormatter

    listing = commands.add_parser("list", help="count and name the elements of a folder")
    listing.add_argument("path", help="the folder")
    listing.add_argument("--long", action="store_true", help="also show kind, size and time of each element")
    listing.set_defaults(run=_run_list)

    table = commands.add_parser(
        "csv",
        help="columns, rows, averages and standard deviations of a CSV file",
        formatter_class=keep_lines,
        epilog="examples:\n"
        "  main.py csv section1_files/sample vitals.csv\n"
        "  main.py csv section1_files/sample dosis.csv vitals.csv --columns 1,3 --quartiles\n"
        "  main.py csv /data export.csv.gz --delimiter tab --decimal , --population\n"
        "  zcat export.csv.gz | main.py csv - --json",
    )
    table.add_argument("path", help="the folder, or the file itself, or - for standard input")
    table.add_argument("names", nargs="*", metavar="name", help="files in the folder; may be compressed (gzip, zstd)")
    table.add_argument("--delimiter", type=_delimiter, help="comma, semicolon, tab, pipe, or a character; else guessed")
    table.add_argument("--decimal", choices=[".", ","], help="decimal mark; else guessed")
    table.add_argument("--encoding", help="utf-8, windows-1252, … (any that Python knows); else guessed")
    table.add_argument("--header-line", type=_line_number, metavar="N", help="line with the names; else guessed")
    table.add_argument("--no-header", action="store_false", dest="header", help="the first line is data, not names")
    table.add_argument(
        "--na-value",
        action="append",
        dest="na_values",
        default=argparse.SUPPRESS,
        metavar="WORD",
        help="a word for a missing value, instead of NA, …",
    )
    table.add_argument(
        "--columns", action="append", default=[], metavar="NAMES", help="only these columns: names or numbers, 1,3,age"
    )
    table.add_argument("--population", action="store_true", help="divide by n (population), not by n-1 (sample)")
    table.add_argument("--quartiles", action="store_true", help="exact quartiles and median (8 bytes per number)")
    table.set_defaults(run=_run_csv)

    dicom = commands.add_parser(
        "dicom",
        help="patient's name, study date, modality and any tags of DICOM files",
        formatter_class=keep_lines,
        epilog="a TAG is one of:\n"
        "  0x0008 0x0016    group and element       0008,0016    both\n"
        "  0x00080016       both                    SOPClassUID  a keyword\n"
        "  ReferencedStudySequence[0].ReferencedSOPInstanceUID   a path, items from 0\n\n"
        "examples:\n"
        "  main.py dicom /data scan.dcm 0x0008 0x0016 PatientID\n"
        "  main.py dicom /data scan.dcm --all\n"
        "  main.py dicom /data scan.dcm --image scan.png --window 40 400\n"
        "  main.py dicom /data                       every file below the folder, a line each\n"
        "  main.py dicom /data PatientID Rows --csv  the same with two more columns, as CSV",
    )
    dicom.add_argument("path", help="the folder, a ZIP archive, or the file itself")
    dicom.add_argument("name", nargs="?", default="", help="the file's name; without it, every file below the folder")
    dicom.add_argument("tags", nargs="*", metavar="TAG", help="data elements to print, see below")
    dicom.add_argument("--all", action="store_true", help="print all data elements of the file as a tree")
    dicom.add_argument("--csv", action="store_true", help="print CSV")
    dicom.add_argument("--image", type=Path, metavar="OUT.png", help="write the image")
    dicom.add_argument("--frame", type=int, help="the frame of the image, from 1 (the default)")
    dicom.add_argument("--montage", action="store_true", help="all frames side by side (at most 64)")
    dicom.add_argument(
        "--window", type=float, nargs=2, metavar=("CENTRE", "WIDTH"), help="grey window; the width is positive"
    )
    dicom.set_defaults(run=_run_dicom)

    for command in (listing, table, dicom):
        command.add_argument("--json", action="store_true", help="print JSON")
    return top


def _delimiter(word: str) -> str:
    character = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}.get(word, word)
    if len(character) != 1 or not character.isascii() or character in '"\r\n\0':
        raise argparse.ArgumentTypeError(f"{word!r} is not one ASCII character; try comma, semicolon, tab or pipe")
    return character


def _line_number(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not the number of a line, from 1")
    return int(word)


def _run_list(arguments: argparse.Namespace) -> bool:
    return list_folder_contents(arguments.path, details=arguments.long, as_json=arguments.json) is not None


def _run_csv(arguments: argparse.Namespace) -> bool:
    from csv_dialect import Options

    choices = vars(arguments)
    options = Options(**{field.name: choices[field.name] for field in fields(Options) if field.name in choices})
    path, names = Path(arguments.path), arguments.names
    files = [path, *map(Path, names)] if path.is_file() or not names else [path / name for name in names]
    complete = True
    for index, file in enumerate(files):
        if index and not arguments.json:
            _print_lines([""])
        statistics = read_csv(file, "", options, as_json=arguments.json)
        complete &= statistics is not None and bool(statistics.numeric_columns)
    return complete


def _check_dicom_options(arguments: argparse.Namespace) -> str | None:
    """Return what is wrong with a combination of options."""
    if not arguments.image and (arguments.window or arguments.frame is not None or arguments.montage):
        return "--window, --frame and --montage need --image"
    if arguments.window and not (math.isfinite(arguments.window[0]) and 0 < arguments.window[1] < math.inf):
        return "--window: the numbers must be finite, and the width must be greater than 0"
    if arguments.montage and arguments.frame is not None:
        return "--montage shows all frames; leave out --frame"
    if arguments.csv and arguments.json:
        return "choose --csv or --json"
    return None


def _run_dicom(arguments: argparse.Namespace) -> bool:
    from dicom_tags import is_tag

    if problem := _check_dicom_options(arguments):
        build_parser().error(problem)
    path, tags = Path(arguments.path, arguments.name), arguments.tags
    # `dicom FILE TAG …` and `dicom FOLDER TAG …`: the name is missing
    if arguments.name and (Path(arguments.path).is_file() or (not path.exists() and is_tag(arguments.name))):
        is_member = zipfile.is_zipfile(arguments.path) and not is_tag(arguments.name)
        path, tags = (path, tags) if is_member else (Path(arguments.path), [arguments.name, *tags])
    if path.is_dir() or zipfile.is_zipfile(path):
        if arguments.all or arguments.image:
            log.error("%s", InputError(path, "is a folder", "name one of its files for --all or --image"))
            return False
        return read_dicom_folder(path, *tags, as_json=arguments.json, as_csv=arguments.csv) == 0
    report = read_dicom(path, "", *tags, as_json=arguments.json, as_csv=arguments.csv, every=arguments.all)
    success = report is not None and not report.truncated
    if report and arguments.image:
        frame = None if arguments.montage else 1 if arguments.frame is None else arguments.frame
        success &= bool(export_image(path, arguments.image, frame, arguments.window and tuple(arguments.window)))
    return success


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 for success, 1 for unreadable input; wrong usage exits with 2."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # show what the terminal cannot encode as codes
    try:
        arguments = build_parser().parse_args(argv)
        success = arguments.run(arguments)
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        log.error("%s is missing: python -m pip install -r %s", error.name, HERE / "requirements.txt")  # noqa: TRY400
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return OK if success else FAILED


if __name__ == "__main__":
    sys.exit(main())
