"""Background loops: each in a thread of its own with a lease of its own, so that none can hold up another.

Several processes may run the same loops; the lease lets one of them do the work and another take over within seconds.
A lease only saves work: every loop is safe to run twice at the same time.
"""

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from core.health import beat
from core.outage import report_outage, report_recovery

log = logging.getLogger("section5.loops")

LEASE_SECONDS = 20.0
HOLDER = f"{socket.gethostname()}:{uuid.uuid4().hex[:8]}"
STEP = 5.0  # seconds between two heartbeats of a loop that waits

ACQUIRE = """
    INSERT INTO core_loop_lease AS held (name, holder, expires_at)
    VALUES (%(name)s, %(holder)s, now() + make_interval(secs => %(seconds)s))
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
        WHERE held.holder = excluded.holder OR held.expires_at < now()
    RETURNING true
"""


@dataclass(frozen=True)
class Loop:
    """A function that is called again and again; it returns True if there is more to do at once."""

    name: str
    every: float  # seconds between two rounds
    run_once: Callable[[], object]


def acquire_lease(name: str, holder: str, seconds: float = LEASE_SECONDS) -> bool:
    """Take or renew a lease; False if another process holds it."""
    with connection.cursor() as cursor:
        cursor.execute(ACQUIRE, {"name": name, "holder": holder, "seconds": seconds})
        return cursor.fetchone() is not None


def release_lease(name: str, holder: str) -> None:
    """Give a lease back, so that another process takes over at once."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM core_loop_lease WHERE name = %s AND holder = %s", (name, holder))


def run_loops(loops: Sequence[Loop], stop: threading.Event) -> None:
    """Run every loop in a thread of its own until `stop` is set."""
    holder = f"{HOLDER}:{os.getpid()}"
    threads = [threading.Thread(target=_run_loop, args=(loop, holder, stop), name=loop.name) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _run_loop(loop: Loop, holder: str, stop: threading.Event) -> None:
    while not stop.is_set():
        more = False
        try:
            close_old_connections()
            held = acquire_lease(loop.name, holder, LEASE_SECONDS + loop.every)
            report_recovery()
            if held:
                more = loop.run_once() is True
        except (DatabaseError, InterfaceError) as error:
            report_outage(error)
            connection.close()
        except Exception:
            log.exception("%s: the round failed; the next one follows", loop.name)
        _wait(loop, 0.0 if more else loop.every, stop)
    try:
        release_lease(loop.name, holder)
    except (DatabaseError, InterfaceError):
        log.info("%s: the lease was not given back; it expires by itself", loop.name)
    connection.close()


def _wait(loop: Loop, seconds: float, stop: threading.Event) -> None:
    """Wait for the next round with a heartbeat every few seconds."""
    beat(loop.name)
    while seconds > 0 and not stop.wait(min(STEP, seconds)):
        seconds -= STEP
        beat(loop.name)
