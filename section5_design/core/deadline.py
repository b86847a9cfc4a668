"""A time limit for work in this process."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class DeadlineError(Exception):
    """The work took longer than its limit."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Interrupt work after a time; the process' main thread must run it.

    Raises:
        DeadlineError: the time is over.

    """

    def expire(*_: object) -> None:
        raise DeadlineError

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
