"""The doorbell: tells workers of jobs, and never more of them than they can soon look at.

A queue of messages that grows faster than it is read would slow down its reading; what is not rung for now, the sweeper
rings for when there is room.
"""

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from functools import lru_cache

from amqp.exceptions import NotFound

from config.celery import ON_FILES, app, folder

log = logging.getLogger("section5.bell")

CROWDED = 100  # messages in a queue
BATCH = {"small": 16, "large": 1}  # jobs in a message: a message costs about a millisecond on either side
GATHERING = 0.03  # seconds
REMEMBERED = 1.0  # seconds that a measured depth is good for

_depths: dict[str, tuple[float, int]] = {}


def depth(queue_name: str) -> int:
    """How many messages wait in a queue; whatever the broker's client raises where it cannot be asked."""
    if ON_FILES:
        return sum(name.endswith(f".{queue_name}.msg") for name in os.listdir(folder))  # noqa: PTH208  # names are enough
    with app.connection_for_write() as connection:
        return int(connection.default_channel.queue_declare(queue_name, passive=True).message_count)


def room(queue_name: str) -> int:
    """How many messages a queue has room for, as it was a moment ago."""
    measured, found = _depths.get(queue_name, (0.0, 0))
    if time.monotonic() - measured > REMEMBERED:
        try:
            found = depth(queue_name)
        except NotFound:  # no worker has been here yet, and each makes its queues
            found = 0
        except Exception as error:  # noqa: BLE001  # whatever a broker's client raises
            log.warning("the broker does not tell how full %s is (%s)", queue_name, type(error).__name__)
            found = 0
        _depths[queue_name] = (time.monotonic(), found)
    return max(0, CROWDED - found)


_waiting: queue.Queue[tuple[int, str]] = queue.Queue(1000)


def ring_soon(job: int, queue_name: str) -> None:
    """Ring from a thread of its own, so that a sender waits for no broker; not at all where many wait to be rung."""
    with contextlib.suppress(queue.Full):
        _waiting.put_nowait((job, queue_name))
    _start_ringing(os.getpid())


@lru_cache(maxsize=1)
def _start_ringing(_: int) -> None:
    """Once in each process, also in one that was forked."""
    threading.Thread(target=_ring_all, name="bell", daemon=True).start()


def _ring_all() -> None:
    """The first at once; while more come, those of a moment together."""
    while True:
        first = [_waiting.get()]
        ring_each(first)
        while more := _gather():
            ring_each(more)


def _gather() -> list[tuple[int, str]]:
    time.sleep(GATHERING)
    found = []
    with contextlib.suppress(queue.Empty):
        while True:
            found.append(_waiting.get_nowait())
    return found


def ring_each(jobs: list[tuple[int, str]]) -> None:
    """Tell workers of jobs, several in a message where they are small."""
    for queue_name, most in BATCH.items():
        for batch in batched([job for job, of in jobs if of == queue_name], most):
            ring(batch, queue_name)


def batched(jobs: list[int], most: int) -> Iterator[list[int]]:
    """Parts of a list."""
    return (jobs[start : start + most] for start in range(0, len(jobs), most))


def ring(jobs: list[int], queue_name: str) -> None:
    """Tell a worker, if there is room. Nothing depends on it: the sweeper rings again for what is due."""
    if not room(queue_name):
        return
    try:
        app.send_task("process", (jobs,), queue=queue_name, retry=False, ignore_result=True)
    except Exception as error:  # noqa: BLE001  # whatever a broker's client raises
        log.warning("the broker does not answer (%s); the sweeper will ring for %s", type(error).__name__, jobs)
