"""Live updates: one listener per process receives PostgreSQL's NOTIFY and forwards it to every open page.

An open page occupies a thread of the server, so the number of streams is limited; other pages poll.
"""

import contextlib
import os
import select
import threading
from collections.abc import Iterator
from functools import lru_cache

import psycopg2
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

READING_KINDS = ["viewed", "queried", "retrieved", "exported", "login", "logout", "login failed", "audit"]  # no change
MAX_STREAMS = 16
KEEPALIVE = 3.0  # seconds between two bytes: a closed page is noticed by the second, and frees its thread
MAX_STREAM_SECONDS = 600.0  # the browser reconnects by itself

_slots = threading.BoundedSemaphore(MAX_STREAMS)


class Listener:
    """Counts PostgreSQL's notifications of changes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        threading.Thread(target=self._listen, name="changes", daemon=True).start()

    def wait(self, seen: int, timeout: float) -> int:
        """Wait until the count exceeds `seen`, or until the timeout; return the count."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > seen, timeout)
            return self._count

    def _notify(self) -> None:
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
                            self._notify()
            pause.wait(1.0)


@lru_cache(maxsize=1)
def listener(_: int) -> Listener:
    """Return the listener of this process."""
    return Listener()


@login_required
def events(request: HttpRequest) -> HttpResponseBase:  # noqa: ARG001
    """Stream server-sent events (HTML standard, 9.2): one for each round of changes."""
    if not _slots.acquire(blocking=False):
        return HttpResponse("too many open streams; poll instead\n", status=503, headers={"Retry-After": "60"})
    response = StreamingHttpResponse(StreamSlots(stream()), content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class StreamSlots:
    """A stream that frees its slot when it ends in any way, even before it starts."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._released = False

    def __iter__(self) -> "StreamSlots":
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free the slot, once."""
        if not self._released:
            self._released = True
            _slots.release()

    def __del__(self) -> None:
        self.close()


class ChangeNotifier:
    """Sends NOTIFY at most once a round, however many audit events were added."""

    def __init__(self) -> None:
        self._last = 0

    def run_once(self) -> None:
        """Notify the listeners if anything changed that a page shows."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(max(id), %s) FROM audit_event WHERE id > %s AND kind <> ALL(%s)",
                (self._last, self._last, READING_KINDS),
            )
            (last,) = cursor.fetchone()
            if last != self._last:
                cursor.execute("NOTIFY changes")
                self._last = last


def stream() -> Iterator[bytes]:
    """Generate the events of an open page."""
    connections.close_all()  # an open page needs no connection
    changes = listener(os.getpid())
    seen, again = changes.wait(-1, 0), False
    yield b"retry: 2000\n\n: open\n\n"
    for _ in range(int(MAX_STREAM_SECONDS / KEEPALIVE)):
        count = changes.wait(seen, KEEPALIVE)
        changed = count > seen
        yield b"event: changed\ndata: \n\n" if changed or again else b": quiet\n\n"
        again = changed and bool(settings.STANDBY_URL)  # the standby may not have had the change yet
        seen = count
