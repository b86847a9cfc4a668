"""Section 3: print numbers from two threads; process each element of a JSON file in a thread of its own.

Without arguments: a demo of both on the sample data, with the clock ten times as fast.
"""

import argparse
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from elements import iter_elements
from even_odd import INTERVAL, EvenOdd
from processing import MAX_THREADS, ElementProcessor
from shared_log import SharedFileHandler

OK, FAILED, INTERRUPTED = 0, 1, 130
HERE = Path(__file__).parent
LOG_FILE = "section3.log"
PROGRESS_MIN_BYTES = 32 << 20  # a smaller file takes less than two seconds

log = logging.getLogger("section3")


def process_file(
    folder: str,
    name: str,
    *,
    max_threads: int = MAX_THREADS,
    elements_per_thread: int = 1,
    as_json: bool = False,
    log_file: str = LOG_FILE,
) -> int:
    """Process the elements of a JSON file; return 1 when one is invalid, or the file or the log cannot be used."""
    path, log_path = Path(folder, name), Path(log_file)
    if path.exists() and log_path.exists() and path.samefile(log_path):
        return fail(log_path, "is the input; choose another log with --log-file")
    try:
        handler = SharedFileHandler(log_path)
    except OSError as error:
        return fail(log_path, f"the log cannot be written ({os_error_text(error)}); choose another with --log-file")
    root = logging.getLogger()
    root.addHandler(handler)  # after that of standard error, which shows errors even if the log cannot be written
    processor = ElementProcessor(sys.stdout, str(path), as_json, max_threads, elements_per_thread)
    try:
        if not path.is_file():
            what = "not a file" if path.exists() else "no such file"
            return fail(path, f"{what}; check the folder and the file's name")
        with open_with_progress(path) as file:
            processor.run(iter_elements(file))
        done, failed = processor.processed, processor.failed
        log.log(logging.ERROR if failed else logging.INFO, "%s: %d processed, %d failed", path, done, failed)
        if not (failed or as_json):
            print(f"{done:,} {'element' if done == 1 else 'elements'} processed")
    except PermissionError as error:
        return fail(path, f"cannot be read ({os_error_text(error)}); check its permissions")
    finally:
        root.removeHandler(handler)
        with suppress(OSError):  # a failed write, already reported
            handler.close()
    return FAILED if processor.failed else OK


@contextmanager
def open_with_progress(path: Path) -> Iterator[BinaryIO]:
    """Open a file; show a progress bar when standard error is a terminal and the output goes elsewhere."""
    with path.open("rb") as file:
        size = path.stat().st_size
        if size >= PROGRESS_MIN_BYTES and sys.stderr.isatty() and not sys.stdout.isatty():
            from tqdm import tqdm

            with tqdm.wrapattr(file, "read", total=size, desc=path.name, delay=2, leave=False) as wrapped:
                yield cast("BinaryIO", wrapped)
        else:
            yield file


def fail(where: str | Path, why: str) -> int:
    """Log where the problem is and what to do; return the exit status."""
    log.error("%s: %s", where, why)
    return FAILED


def os_error_text(error: OSError) -> str:
    """Return the system's text for an error."""
    return (error.strerror or type(error).__name__).lower()


def demo() -> int:
    """Run both programs on the sample data."""
    sample = os.path.relpath(HERE / "sample")
    print("$ python section3_threads/main.py numbers --interval 0.05\n", flush=True)
    EvenOdd(0.05).run()
    for name in ("elements.json", "invalid.json"):
        print(f"\n$ python section3_threads/main.py process section3_threads/sample {name}\n", flush=True)
        status = process_file(sample, name, log_file=os.devnull)
        sys.stdout.flush()
        if (status == OK) != (name == "elements.json"):
            return FAILED
    print("\nTry your own: python section3_threads/main.py process FOLDER FILE.json   (--help shows the options)")
    return OK


def build_parser() -> argparse.ArgumentParser:
    """Build the command line parser."""
    top = argparse.ArgumentParser(
        prog="main.py",
        description="Two threads on a clock; a thread for each element of a JSON file. Without arguments: a demo.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    numbers = commands.add_parser("numbers", help="print 1 to 200: one thread the even, one the odd numbers")
    pace = "seconds between the numbers of a thread (default: 0.5)"
    numbers.add_argument("--interval", type=seconds, default=INTERVAL, metavar="SECONDS", help=pace)
    process = commands.add_parser(
        "process",
        help="average every element of a JSON file, each in a thread",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  main.py process section3_threads/sample elements.json --json",
    )
    process.add_argument("folder", help="the folder")
    process.add_argument("name", help="the JSON file's name")
    process.add_argument(
        "--max-threads", type=count, default=MAX_THREADS, metavar="N", help="threads active at a time (default: 4)"
    )
    process.add_argument(
        "--elements-per-thread",
        type=count,
        default=1,
        metavar="N",
        help="elements that a thread processes before it ends; more is faster for small elements (default: 1)",
    )
    process.add_argument("--log-file", default=LOG_FILE, metavar="FILE", help=f"the shared log (default: {LOG_FILE})")
    process.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object per element")
    return top


def seconds(word: str) -> float:
    """Parse an interval; argparse puts the name of this function into its message."""
    value = float(word)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 3600 seconds")
    return value


def count(word: str) -> int:
    """Parse a number of threads or elements."""
    if not (word.isascii() and word.isdecimal() and 1 <= int(word) <= 1000):
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 1000")
    return int(word)


def run(command: str | None, **options: Any) -> int:
    """Run the chosen command."""
    if command is None:
        return demo()
    if command == "numbers":
        EvenOdd(**options).run()
        return OK
    return process_file(**options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 on success, 1 on failure, 130 after Ctrl-C (wrong usage exits with 2)."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger().handlers[0].setLevel(logging.WARNING)  # the file has every record
    log.setLevel(logging.INFO)
    if isinstance(sys.stdout, io.TextIOWrapper):  # not when redirected to a StringIO
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = run(**vars(build_parser().parse_args(argv)))
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        log.error("%s is missing: python -m pip install -r %s", error.name, HERE / "requirements.txt")  # noqa: TRY400
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the pipe has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        advice = "free some space or choose another file"
        return fail(error.filename or "output", f"cannot be written ({os_error_text(error)}); {advice}")
    return status


if __name__ == "__main__":
    sys.exit(main())
