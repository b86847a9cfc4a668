"""Wake workers: a message says that a queue has work, and nothing else. Losing or repeating one costs nothing."""

import logging
import time

from config.celery import app, broker_queue
from jobs.queue import find_due_queues

log = logging.getLogger("section5.dispatcher")

MIN_INTERVAL = 0.02  # seconds between two wake-ups of a queue by this process; the dispatcher wakes for the rest
PAUSE_AFTER_ERROR = 5.0  # seconds without wake-ups after the broker did not respond

_next_wake: dict[str, float] = {}


def wake(queue: str) -> None:
    """Wake a worker for a queue, unless this process has just done so; never raises."""
    now = time.monotonic()
    if now >= _next_wake.get(queue, 0.0):
        _next_wake[queue] = now + MIN_INTERVAL
        send_wake_up(queue)


def send_wake_up(queue: str) -> None:
    """Send a wake-up message. Nothing depends on it: the dispatcher repeats it while the queue has due jobs."""
    try:
        app.send_task("jobs.run", (queue,), queue=broker_queue(queue), retry=False, ignore_result=True)
    except Exception as error:  # noqa: BLE001  # whatever a broker's client raises
        _next_wake[queue] = time.monotonic() + PAUSE_AFTER_ERROR
        log.warning("the broker does not respond (%s); workers of %s are woken later", type(error).__name__, queue)


def dispatch() -> None:
    """Wake a worker for every queue that has due jobs."""
    for queue in find_due_queues():
        wake(queue)
