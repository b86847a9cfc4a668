"""Process each element in a thread of its own, at most four at a time."""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from queue import SimpleQueue
from typing import TextIO, TypeVar

from elements import Element, ElementError
from measurements import Measurements, NumberError, measure

MAX_THREADS = 4
T = TypeVar("T")

log = logging.getLogger("section3")


def run_in_threads(items: Iterable[T], work: Callable[[T], None], limit: int = MAX_THREADS) -> None:
    """Call `work` for each item in a new thread, with at most `limit` threads alive.

    A new thread starts as soon as an old one ends: the old one is joined first, so the limit holds at every instant.
    Items are read only as threads end. `work` must not raise.
    """
    active: set[threading.Thread] = set()
    ended: SimpleQueue[threading.Thread] = SimpleQueue()

    def run(item: T) -> None:
        try:
            work(item)
        finally:
            ended.put(threading.current_thread())

    try:
        for item in items:
            if len(active) == limit:
                thread = ended.get()
                thread.join()
                active.remove(thread)
            thread = threading.Thread(target=run, args=(item,))
            active.add(thread)
            thread.start()
    finally:  # also after Ctrl-C: wait for the active threads
        for thread in active:
            with suppress(RuntimeError):  # Ctrl-C came before it was started
                thread.join()


class ElementProcessor:
    """Process elements in threads; log and print each result. `source` names the file in its errors."""

    def __init__(self, output: TextIO, source: str, as_json: bool, max_threads: int, elements_per_thread: int) -> None:
        self.processed = self.failed = 0
        self._output, self._source, self._as_json = output, source, as_json
        self._max_threads, self._elements_per_thread = max_threads, elements_per_thread
        self._lock = threading.Lock()
        self._error: OSError | None = None

    def run(self, elements: Iterable[Element | ElementError]) -> None:
        """Process all elements; log those that are invalid and continue with the others.

        Raises:
            OSError: The output or the log cannot be written; no further element was started.
        """
        run_in_threads(self._iter_batches(elements), self._process, self._max_threads)
        if self._error is not None:
            raise self._error

    def _iter_batches(self, elements: Iterable[Element | ElementError]) -> Iterator[list[Element | ElementError]]:
        """Yield what each thread processes, until the output fails."""
        iterator = iter(elements)
        while self._error is None and (batch := list(islice(iterator, self._elements_per_thread))):
            yield batch

    def _process(self, batch: list[Element | ElementError]) -> None:
        """Process a batch, by default one element; the target of each thread."""
        try:
            text = "".join(map(self._measure_and_log, batch))  # logged first: a printed result is always in the log
            with self._lock:
                self._output.write(text)
        except OSError as error:  # a closed pipe, a full disk: `run` raises it
            self._error = error

    def _measure_and_log(self, element: Element | ElementError) -> str:
        """Return the text to print for an element or error."""
        if isinstance(element, ElementError):
            return self._log_error(element)
        try:
            result = measure(element.rows)
        except (NumberError, MemoryError) as error:
            reason = str(error) if isinstance(error, NumberError) else "does not fit into memory"
            return self._log_error(ElementError(element.id, element.line, reason))
        with self._lock:
            self.processed += 1
        log.info(
            "element %s: average before normalisation %r, after normalisation %r, size of data %d",
            *(escape_unprintable(element.id), result.average_before, result.average_after, result.size),
        )
        return (format_json if self._as_json else format_text)(element, result)

    def _log_error(self, error: ElementError) -> str:
        name = "element without a valid id" if error.id is None else f"element {escape_unprintable(error.id)}"
        with self._lock:
            self.failed += 1
        log.error("%s, line %d: %s", self._source if error.in_file else name, error.line, error.reason)
        if not self._as_json:
            return ""
        return json.dumps({"id": error.id, "line": error.line, "error": error.reason}, ensure_ascii=False) + "\n"


def format_text(element: Element, result: Measurements) -> str:
    """Return the lines to print for an element."""
    return (
        f"Element {escape_unprintable(element.id)} ({escape_unprintable(element.device_name)})\n"
        f"  average before normalisation  {result.average_before!r}\n"
        f"  average after normalisation   {result.average_after!r}\n"
        f"  size of data                  {result.size}\n"
    )


def format_json(element: Element, result: Measurements) -> str:
    """Return the line that `--json` prints for an element."""
    fields = {
        "id": element.id,
        "device_name": element.device_name,
        "average_before_normalization": result.average_before,
        "average_after_normalization": result.average_after,
        "data_size": result.size,
    }
    return json.dumps(fields, ensure_ascii=False) + "\n"


def escape_unprintable(text: str) -> str:
    """Escape text that could change the terminal or forge a log line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
