"""Pages that move by themselves: one listener a process hears PostgreSQL's NOTIFY, and tells each page that is open.

Each open page holds a thread of the server, so there are places for some; who finds none asks again every two seconds.
"""

import contextlib
import logging
import os
import select
import threading
from collections.abc import Iterator
from functools import lru_cache

import psycopg2
from django.contrib.auth.decorators import login_required
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

log = logging.getLogger("section5.portal")

PLACES = 16
QUIET = 15.0  # seconds, after which a word is said, so that a page that was closed is noticed
LONGEST = 600.0  # seconds; a browser opens its stream anew by itself

_places = threading.BoundedSemaphore(PLACES)


class Listener:
    """Counts the changes that PostgreSQL tells of."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        threading.Thread(target=self._listen, name="changes", daemon=True).start()

    def wait(self, seen: int, timeout: float) -> int:
        """Wait until there is more than was seen, or for some seconds; how many there are."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > seen, timeout)
            return self._count

    def _tell(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def _listen(self) -> None:
        pause = threading.Event()
        while True:
            with contextlib.suppress(psycopg2.Error, OSError):
                own = psycopg2.connect(**connection.get_connection_params())
                own.autocommit = True
                with own.cursor() as cursor:
                    cursor.execute("LISTEN changes")
                while True:
                    if select.select([own], [], [], 60.0)[0]:
                        own.poll()
                        if own.notifies:
                            own.notifies.clear()
                            self._tell()
            pause.wait(1.0)


@lru_cache(maxsize=1)
def listener(_: int) -> Listener:
    """One a process."""
    return Listener()


@login_required
def events(request: HttpRequest) -> HttpResponseBase:  # noqa: ARG001
    """A stream of events (server-sent events, HTML standard, 9.2): one for each round of changes."""
    if not _places.acquire(blocking=False):
        return HttpResponse("all places are taken; ask again\n", status=503, headers={"Retry-After": "60"})
    response = StreamingHttpResponse(Places(stream()), content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class Places:
    """A stream that gives its place back when it ends, however it does, also before it has begun."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._given = False

    def __iter__(self) -> "Places":
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the place back, once."""
        if not self._given:
            self._given = True
            _places.release()

    def __del__(self) -> None:
        self.close()


def stream() -> Iterator[bytes]:
    """What an open page is told."""
    connections.close_all()  # a page that stays open needs none
    changes = listener(os.getpid())
    seen = changes.wait(-1, 0)
    yield b"retry: 2000\n\n: open\n\n"
    for _ in range(int(LONGEST / QUIET)):
        count = changes.wait(seen, QUIET)
        yield b"event: changed\ndata: \n\n" if count > seen else b": quiet\n\n"
        seen = count
