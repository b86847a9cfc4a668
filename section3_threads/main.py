"""Section 3: two threads on a clock, and a thread for each element of a JSON file.

Without arguments: both programs, on the section's sample, the clock running ten times as fast.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from even_odd import INTERVAL, EvenOdd

if TYPE_CHECKING:
    from elements import Element, Problem

OK, FAILED, INTERRUPTED = 0, 1, 130
HERE = Path(__file__).parent
LOG_FILE = "section3.log"
WORTH_WATCHING = 32 << 20  # bytes; less is read before anybody looks

log = logging.getLogger("section3")


def show_numbers(interval: float) -> int:
    """Print 1 to 200 from two threads, a number from each every `interval` seconds."""
    EvenOdd(interval).run()
    return OK


def process_file(folder: str, name: str, *, threads: int = 4, as_json: bool = False, log_file: str = LOG_FILE) -> int:
    """Process the elements of a JSON file; 1 when one of them failed, or the file or the log cannot be used."""
    from elements import elements_in
    from processing import Processing
    from shared_log import AppendingHandler

    path = Path(folder, name)
    try:
        handler = AppendingHandler(Path(log_file))
    except OSError as error:
        return refused(log_file, f"the log cannot be written ({reason(error)}); name another with --log")
    log.addHandler(handler)
    processing = Processing(sys.stdout, as_json, threads)
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "no such file"
            return refused(str(path), f"{what}; check the folder and the file's name")
        with path.open("rb") as file:
            processing.run(watched(elements_in(file), file, path))
        done, failed = processing.processed, processing.failed
        report = log.error if failed else log.info
        report("%s: elements processed: %d, problems: %d", path, done, failed)
        if not (failed or as_json):
            print(f"{done:,} {'element' if done == 1 else 'elements'} processed")
    except PermissionError as error:
        return refused(str(path), f"cannot be read ({reason(error)}); check its permissions")
    finally:
        log.removeHandler(handler)
        handler.close()
    return FAILED if processing.failed else OK


def watched(items: "Iterator[Element | Problem]", file: BinaryIO, path: Path) -> "Iterator[Element | Problem]":
    """The items, with a bar over the file on standard error, where that is a terminal and the output goes elsewhere."""
    if path.stat().st_size < WORTH_WATCHING or not sys.stderr.isatty() or sys.stdout.isatty():
        yield from items
        return
    from tqdm import tqdm

    with tqdm(total=path.stat().st_size, unit="B", unit_scale=True, desc=path.name, delay=2, leave=False) as bar:
        for item in items:
            yield item
            bar.update(file.tell() - bar.n)


def refused(where: str, why: str) -> int:
    """Log what is wrong, where, and what to do."""
    log.error("%s: %s", where, why)
    return FAILED


def reason(error: OSError) -> str:
    """The system's word for what went wrong."""
    return (error.strerror or type(error).__name__).lower()


def tour() -> int:
    """Show both programs at work."""
    sample = os.path.relpath(HERE / "sample")
    print("$ python section3_threads/main.py numbers --interval 0.05\n", flush=True)
    show_numbers(0.05)
    for name in ("elements.json", "troubles.json"):
        print(f"\n$ python section3_threads/main.py process section3_threads/sample {name}\n", flush=True)
        status = process_file(sample, name, log_file=os.devnull)
        sys.stdout.flush()
        if (status == OK) != (name == "elements.json"):
            return FAILED
    print("\nTry your own: python section3_threads/main.py process FOLDER FILE.json   (--help shows the options)")
    return OK


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="main.py",
        description="Two threads on a clock; a thread for each element of a JSON file. Without arguments: a tour.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    numbers = commands.add_parser("numbers", help="1 to 200 from two threads, one even, one odd")
    numbers.add_argument("--interval", type=_positive, default=INTERVAL, metavar="SECONDS", help="0.5 unless named")
    process = commands.add_parser(
        "process",
        help="averages of every element of a JSON file, a thread for each",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  main.py process section3_threads/sample elements.json --json",
    )
    process.add_argument("folder", help="the folder")
    process.add_argument("name", help="the JSON file's name")
    process.add_argument("--threads", type=_count, default=4, metavar="N", help="threads at a time, 4 unless named")
    process.add_argument("--log", default=LOG_FILE, metavar="FILE", help=f"the shared log, {LOG_FILE} unless named")
    process.add_argument("--json", action="store_true", help="one result a line, for a program")
    return top


def _positive(word: str) -> float:
    seconds = float(word)
    if not 0 < seconds < 3600:
        raise argparse.ArgumentTypeError("must lie between 0 and 3600 seconds")
    return seconds


def _count(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and 1 <= int(word) <= 1000):
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 1000")
    return int(word)


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line says."""
    if arguments.command is None:
        return tour()
    if arguments.command == "numbers":
        return show_numbers(arguments.interval)
    return process_file(
        arguments.folder, arguments.name, threads=arguments.threads, as_json=arguments.json, log_file=arguments.log
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 1 when something failed, 2 for wrong usage, 130 after Ctrl-C."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger().handlers[0].setLevel(logging.WARNING)  # the screen has the averages; the file has everything
    log.setLevel(logging.INFO)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status = run(parser().parse_args(argv))
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        log.error("%s is missing: python -m pip install -r %s", error.name, HERE / "requirements.txt")  # noqa: TRY400
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        return refused(
            str(error.filename or "output"), f"cannot be written ({reason(error)}); make room or name another"
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
