"""A thread for each element, at most four of them at a time, the next as soon as one has ended."""

import json
import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TextIO, TypeVar

from averages import Summary, summarise
from elements import Element, Problem
from numbers_text import NumberError, numbers_of
from one_processor import on_one_processor

THREADS = 4
SHORT_WAIT = 0.02  # seconds
T = TypeVar("T")

log = logging.getLogger("section3")


def run_in_threads(
    items: Iterable[T],
    work: Callable[[T], None],
    limit: int = THREADS,
    before_waiting: Callable[[], None] = lambda: None,
) -> None:
    """Work on each item in a thread of its own, with at most `limit` threads alive at any instant.

    A thread hands over its place by ending: it is joined before the next one is made. The items are taken one at a
    time, as places become free. `work` must not raise. `before_waiting` is called when nothing ends for a while.
    """
    ending: SimpleQueue[threading.Thread] = SimpleQueue()

    def run(item: T) -> None:
        try:
            work(item)
        finally:
            ending.put(threading.current_thread())

    alive: set[threading.Thread] = set()
    try:
        for item in items:
            if len(alive) == limit:
                try:
                    ended = ending.get(timeout=SHORT_WAIT)
                except Empty:
                    before_waiting()
                    ended = ending.get()
                ended.join()
                alive.discard(ended)
            thread = threading.Thread(target=run, args=(item,))
            alive.add(thread)
            thread.start()
    finally:  # after Ctrl-C too: what has begun is ended
        for thread in alive:
            with suppress(RuntimeError):  # it was never started
                thread.join()


@dataclass
class Processing:
    """Elements at work: what each says goes to the output in one piece, and to the log."""

    output: TextIO
    as_json: bool = False
    threads: int = THREADS
    processed: int = 0
    failed: int = 0
    error: OSError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, elements: Iterable[Element | Problem]) -> None:
        """Process the elements in threads; what cannot be processed is logged, and the others go on.

        Raises:
            OSError: the output or the log cannot be written; no further element was begun.

        """
        with on_one_processor():
            run_in_threads(self._good(elements), self._process, self.threads, lambda: self._guarded(self._flush))
        self._guarded(self._flush)
        if self.error is not None:
            raise self.error

    def _good(self, elements: Iterable[Element | Problem]) -> Iterable[Element]:
        for element in elements:
            if self.error is not None:
                return
            if isinstance(element, Element):
                yield element
            else:
                self._guarded(self._report, element)

    def _process(self, element: Element) -> None:
        """What a thread does."""
        try:
            summary = summarise(numbers_of(element.rows))
        except NumberError as error:
            self._guarded(self._report, Problem(element.id, element.line, str(error)))
        except MemoryError:
            self._guarded(self._report, Problem(element.id, element.line, "is larger than the memory"))
        else:
            self._guarded(self._say, element, summary)

    def _flush(self) -> None:
        with self._lock:
            self.output.flush()
        for handler in log.handlers:
            handler.flush()

    def _guarded(self, say: Callable[..., None], *what: object) -> None:
        try:
            say(*what)
        except OSError as error:  # a closed pipe, a full disk: nothing more can be said
            self.error = error

    def _say(self, element: Element, summary: Summary) -> None:
        id_ = printable(element.id)
        log.info(
            "%s: average before normalisation %r, after %r\n%s: size of data %d",
            *(id_, summary.average_before, summary.average_after, id_, summary.size),
        )
        if self.as_json:
            text = json.dumps(facts(element, summary), ensure_ascii=False) + "\n"
        else:
            text = (
                f"Element {id_} ({printable(element.device_name)})\n"
                f"  average before normalisation  {summary.average_before!r}\n"
                f"  average after normalisation   {summary.average_after!r}\n"
                f"  size of data                  {summary.size}\n"
            )
        with self._lock:
            self.processed += 1
            self.output.write(text)

    def _report(self, problem: Problem) -> None:
        element = f"element {printable(problem.id)}" if problem.id is not None else "element without id"
        name = "file" if problem.of_file else element
        log.error("%s, line %d: %s", name, problem.line, problem.reason)
        with self._lock:
            self.failed += 1
            if self.as_json:
                said = {"id": problem.id, "line": problem.line, "error": problem.reason}
                self.output.write(json.dumps(said, ensure_ascii=False) + "\n")


def facts(element: Element, summary: Summary) -> dict[str, object]:
    """What `--json` shows of an element."""
    return {
        "id": element.id,
        "device_name": element.device_name,
        "average_before_normalization": summary.average_before,
        "average_after_normalization": summary.average_after,
        "data_size": summary.size,
    }


def printable(text: str) -> str:
    """Text that is safe on a terminal and stays on its line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
