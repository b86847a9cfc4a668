"""Do other work while PostgreSQL executes a statement: files are synced while a row is written.

psycopg2's "green" mode makes it possible: a callback that waits for the server, in every connection of the process.
"""

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2.extensions


class _Work(threading.local):
    pending: Callable[[], None] | None = None


_work = _Work()


@contextmanager
def overlap(work: Callable[[], None]) -> Iterator[None]:
    """Run `work` once, while the first statement in the block executes, or at the block's end.

    An error of `work` is raised by that statement, and closes the connection, so that its transaction is rolled back.
    """
    psycopg2.extensions.set_wait_callback(_wait)
    _work.pending = work
    try:
        yield
        _run_pending()
    finally:
        _work.pending = None


def _run_pending() -> None:
    work, _work.pending = _work.pending, None
    if work is not None:
        work()


def _wait(connection: Any) -> None:
    """Wait for a connection as libpq does; before the first wait for an answer, run the pending work."""
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        if state == psycopg2.extensions.POLL_READ:
            _run_pending()
        waiting = select.poll()
        waiting.register(
            connection.fileno(), select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
        )
        waiting.poll()
