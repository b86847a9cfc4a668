"""The doorbell: tells workers of jobs, and never more of them than they can soon look at.

A queue of messages that grows faster than it is read would slow down its reading; what is not rung for now, the sweeper
rings for when there is room.
"""

import logging
import os
import time

from config.celery import ON_FILES, app, folder

log = logging.getLogger("section5.bell")

CROWDED = 500  # messages in a queue
REMEMBERED = 1.0  # seconds that a measured depth is good for

_depths: dict[str, tuple[float, int]] = {}


def depth(queue: str) -> int:
    """How many messages wait in a queue; whatever the broker's client raises where it cannot be asked."""
    if ON_FILES:
        return sum(name.endswith(f".{queue}.msg") for name in os.listdir(folder))  # noqa: PTH208  # names are enough
    with app.connection_for_write() as connection:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


def room(queue: str) -> int:
    """How many messages a queue has room for, as it was a moment ago."""
    measured, found = _depths.get(queue, (0.0, 0))
    if time.monotonic() - measured > REMEMBERED:
        try:
            found = depth(queue)
        except Exception as error:  # noqa: BLE001  # whatever a broker's client raises
            log.warning("the broker does not tell how full %s is (%s)", queue, type(error).__name__)
            found = 0
        _depths[queue] = (time.monotonic(), found)
    return max(0, CROWDED - found)


def ring(job: int, queue: str) -> None:
    """Tell a worker, if there is room. Nothing depends on it: the sweeper rings again for what is due."""
    from processing.tasks import process

    if not room(queue):
        return
    try:
        process.apply_async((job,), queue=queue, retry=False)
    except Exception as error:  # noqa: BLE001  # whatever a broker's client raises
        log.warning("the broker does not answer (%s); the sweeper will ring for job %d", type(error).__name__, job)
