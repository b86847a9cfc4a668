"""Call a site's function within its limits, and check what it returns."""

import contextlib
import resource
import signal
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import orjson
import psutil
from django.utils.module_loading import import_string

from analysis.contract import Context, Output, UnprocessableError
from archive.encryption import ObjectIntegrityError

PREVIEW = "preview"
MAX_FIGURES = 4 << 20  # bytes of JSON


class TimeLimitError(Exception):
    """The function took longer than its limit."""


def call_function(name: str, files: BinaryIO | Iterable[BinaryIO], context: Context) -> Output:
    """Call a function by its dotted name.

    Raises:
        UnprocessableError: it failed, or returned something else than the contract says.

    """
    try:
        returned = import_string(name)(files, context)
    except (UnprocessableError, ObjectIntegrityError, MemoryError, OSError, TimeLimitError):
        raise
    except Exception as error:  # a site's code raises what it likes; a retry does not help
        raise UnprocessableError(f"the analysis failed ({type(error).__name__})") from error
    if not isinstance(returned, Output):
        try:
            figures, preview = returned
        except (TypeError, ValueError):
            raise UnprocessableError(f"the analysis {name} did not return figures and a preview") from None
        returned = Output(figures, {PREVIEW: preview} if preview else {})
    check_figures(returned.figures, name)
    return returned


def check_figures(figures: object, name: str) -> None:
    """Check that figures can be stored.

    Raises:
        UnprocessableError: they are not a JSON object.

    """
    if not isinstance(figures, dict):
        raise UnprocessableError(f"the analysis {name} did not return a dictionary of figures")
    try:
        document = encode_figures(figures)
    except TypeError as error:
        raise UnprocessableError(f"the analysis {name} returned figures that are not JSON: {error}") from None
    if "\\u0000" in document:
        raise UnprocessableError(f"the analysis {name} returned figures with a NUL character")
    if len(document) > MAX_FIGURES:
        raise UnprocessableError(f"the analysis {name} returned more than {MAX_FIGURES >> 20} MB of figures")


def encode_figures(figures: dict[str, Any]) -> str:
    """Encode figures as JSON; values that are not finite become null."""
    return orjson.dumps(figures, option=orjson.OPT_SERIALIZE_NUMPY).decode()


@contextlib.contextmanager
def limited(seconds: int, memory_mb: int) -> Iterator[None]:
    """Limit time and additional memory of a function in this process; its main thread must run it.

    Raises:
        UnprocessableError: it took too long.
        MemoryError: it needed too much memory.

    """

    def expire(*_: object) -> None:
        raise TimeLimitError

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + (memory_mb << 20)
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    previous = signal.signal(signal.SIGALRM, expire)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except TimeLimitError:
        raise UnprocessableError(f"the function took more than {seconds} seconds") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, previous)
