"""Two threads: one prints the even numbers, the other the odd ones, each at a steady pace and together in order."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

LAST = 200
INTERVAL = 0.5  # seconds


class EvenOdd:
    """The two threads. Each prints its n-th number at start + n × interval: a late tick makes no later one late.

    A number waits for its tick and for its turn, so the numbers stand in order whatever the load.
    """

    def __init__(
        self,
        interval: float = INTERVAL,
        last: int = LAST,
        say: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interval, self.last, self._clock = interval, last, clock
        self._say = say or print_line
        self._turn = threading.Condition()
        self._next = 1
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(first,), name=name) for first, name in ((1, "odd"), (2, "even"))
        ]

    def run(self) -> None:
        """Start both threads and wait for their end; Ctrl-C ends both at once.

        Raises:
            KeyboardInterrupt: after both have ended.
            OSError: the output cannot be written; both have ended.

        """
        self._start = self._clock()
        try:  # Ctrl-C may come while a thread is being started
            for thread in self._threads:
                thread.start()
            for thread in self._threads:
                thread.join()
        finally:
            self._stop()
            for thread in self._threads:
                with suppress(RuntimeError):  # it was never started
                    thread.join()
        if self._error is not None:
            raise self._error

    def _run(self, first: int) -> None:
        try:
            for tick, number in enumerate(range(first, self.last + 1, 2)):
                due = self._start + tick * self.interval
                if self._stopped.wait(max(0.0, due - self._clock())):
                    return
                with self._turn:
                    while self._next != number and not self._stopped.is_set():
                        self._turn.wait()
                    if self._stopped.is_set():
                        return
                    self._say(f"{threading.current_thread().name:<4} {number}\n")
                    self._next = number + 1
                    self._turn.notify_all()
        except OSError as error:  # a closed pipe, a full disk: the other thread ends too
            self._error = error
            self._stop()

    def _stop(self) -> None:
        self._stopped.set()
        with self._turn:
            self._turn.notify_all()


def print_line(line: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(line)
    sys.stdout.flush()
