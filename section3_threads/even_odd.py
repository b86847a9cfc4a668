"""Print even and odd numbers from two threads, each on the same clock and together in order."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

LAST = 200
INTERVAL = 0.5  # seconds


def write_line(line: str) -> None:
    """Write a line to standard output and flush it."""
    print(line, end="", flush=True)


class EvenOdd:
    """Two threads; each prints its n-th number at start + n × interval, so delays never accumulate.

    A number waits for its time and for its turn, so the order holds under any load.
    """

    def __init__(
        self,
        interval: float = INTERVAL,
        write: Callable[[str], None] = write_line,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval, self._write, self._clock = interval, write, clock
        self._turn = threading.Condition()  # guards the next three
        self._next = 1
        self._stopped = False
        self._error: Exception | None = None

    def run(self) -> None:
        """Start both threads and wait for them; Ctrl-C stops both at once.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; both threads have ended.
            OSError: The output cannot be written; both threads have ended.
        """
        start = self._clock()
        threads = [
            threading.Thread(target=self._run, args=(1, start), name="odd"),
            threading.Thread(target=self._run, args=(2, start), name="even"),
        ]
        try:  # Ctrl-C may come while a thread is being started
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self._stop()
            for thread in threads:
                with suppress(RuntimeError):  # it was never started
                    thread.join()
        if self._error is not None:
            raise self._error

    def _run(self, first: int, start: float) -> None:
        try:
            for tick, number in enumerate(range(first, LAST + 1, 2)):
                due = start + tick * self._interval
                with self._turn:
                    while not self._stopped and self._next != number:
                        self._turn.wait()
                    while not self._stopped and (delay := due - self._clock()) > 0:
                        self._turn.wait(delay)
                    if self._stopped:
                        return
                    self._write(f"{threading.current_thread().name:<4} {number}\n")
                    self._next = number + 1
                    self._turn.notify_all()
        except OSError as error:  # a closed pipe, a full disk: the other thread ends too
            self._error = error
            self._stop()

    def _stop(self) -> None:
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
