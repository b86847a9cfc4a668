"""Process each element in a thread of its own, at most four at a time."""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TextIO, TypeVar

from elements import Element, ElementError
from measurements import Measurements, NumberError, measure

MAX_THREADS = 4
T = TypeVar("T")

log = logging.getLogger("section3")


def run_in_threads(items: Iterable[T], work: Callable[[T], None], limit: int = MAX_THREADS) -> None:
    """Call `work` for each item in a new thread, with at most `limit` threads alive.

    A new thread takes the slot of an ended one as soon as that ends: the old one is joined first, so the limit holds at
    every instant. Items are read only as slots become free. `work` must not raise.
    """
    # A pool of slots, each free or left by an ended thread. SimpleQueue is written in C: on small elements it takes
    # less time than threading.Semaphore, which is written in Python.
    slots: SimpleQueue[threading.Thread | None] = SimpleQueue()
    for _ in range(limit):
        slots.put(None)
    active: set[threading.Thread] = set()

    def run(item: T) -> None:
        try:
            work(item)
        finally:
            slots.put(threading.current_thread())

    try:
        for item in items:
            ended = slots.get()
            if ended is not None:
                ended.join()
                active.discard(ended)
            thread = threading.Thread(target=run, args=(item,))
            thread.start()
            active.add(thread)
    finally:  # also after Ctrl-C: wait for the active threads
        for thread in active:
            thread.join()


@dataclass
class ElementProcessor:
    """Process elements in threads; print and log each result."""

    output: TextIO
    as_json: bool = False
    max_threads: int = MAX_THREADS
    processed: int = 0
    failed: int = 0
    error: OSError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, elements: Iterable[Element | ElementError]) -> None:
        """Process all elements; log those that are invalid and continue with the others.

        Raises:
            OSError: The output or the log cannot be written; no further element was started.

        """
        run_in_threads(self._iter_valid(elements), self._process, self.max_threads)
        if self.error is not None:
            raise self.error

    def _iter_valid(self, elements: Iterable[Element | ElementError]) -> Iterator[Element]:
        """Report the errors; yield the elements until the output fails."""
        for element in elements:
            if self.error is not None:
                return
            if isinstance(element, Element):
                yield element
            else:
                self._write_error(element)

    def _process(self, element: Element) -> None:
        """Process one element; the target of each thread."""
        try:
            try:
                result = measure(element.rows)
            except NumberError as error:
                self._write_error(ElementError(element.id, element.line, str(error)))
            except MemoryError:
                self._write_error(ElementError(element.id, element.line, "does not fit into memory"))
            else:
                self._write_result(element, result)
        except OSError as error:  # a closed pipe, a full disk: `run` raises it
            self.error = error

    def _write_result(self, element: Element, result: Measurements) -> None:
        id_ = escape_unprintable(element.id)
        log.info(
            "element %s: average before normalisation %r, after normalisation %r, size of data %d",
            *(id_, result.average_before, result.average_after, result.size),
        )
        if self.as_json:
            text = json.dumps(to_dict(element, result), ensure_ascii=False) + "\n"
        else:
            text = (
                f"Element {id_} ({escape_unprintable(element.device_name)})\n"
                f"  average before normalisation  {result.average_before!r}\n"
                f"  average after normalisation   {result.average_after!r}\n"
                f"  size of data                  {result.size}\n"
            )
        with self._lock:
            self.processed += 1
            self.output.write(text)

    def _write_error(self, error: ElementError) -> None:
        name = "element without a valid id" if error.id is None else f"element {escape_unprintable(error.id)}"
        log.error("%s, line %d: %s", "file" if error.in_file else name, error.line, error.reason)
        with self._lock:
            self.failed += 1
            if self.as_json:
                result = {"id": error.id, "line": error.line, "error": error.reason}
                self.output.write(json.dumps(result, ensure_ascii=False) + "\n")


def to_dict(element: Element, result: Measurements) -> dict[str, object]:
    """Return what `--json` prints for an element."""
    return {
        "id": element.id,
        "device_name": element.device_name,
        "average_before_normalization": result.average_before,
        "average_after_normalization": result.average_after,
        "data_size": result.size,
    }


def escape_unprintable(text: str) -> str:
    """Escape text that could change the terminal or forge a log line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
