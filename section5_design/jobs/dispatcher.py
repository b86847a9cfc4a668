"""Wake workers: a message says that a queue has work, and nothing else. Losing or repeating one costs nothing."""

import logging
import os
import threading
import time

from config.celery import app, broker_queue
from jobs.queue import find_due_queues

log = logging.getLogger("section5.dispatcher")

MIN_INTERVAL = 0.05  # seconds between two wake-ups of a queue by this process
PAUSE_AFTER_ERROR = 5.0  # seconds without wake-ups after the broker did not respond


class Waker:
    """Sends wake-ups from a separate thread, so that storing an instance never waits for the broker.

    The first is sent at once, further ones together when MIN_INTERVAL has passed.
    """

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._process = 0  # the one whose thread runs; a forked process starts another

    def wake(self, queue: str) -> None:
        """Send a wake-up for a queue soon."""
        if queue in self._wanted and self._process == os.getpid():
            return
        with self._changed:
            self._wanted.add(queue)
            if self._process != os.getpid():
                self._process = os.getpid()
                threading.Thread(target=self._run, name="waker", daemon=True).start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted)
                queues, self._wanted = self._wanted, set()
            sent = [send_wake_up(queue) for queue in queues]
            time.sleep(MIN_INTERVAL if all(sent) else PAUSE_AFTER_ERROR)


_waker = Waker()


def wake(queue: str) -> None:
    """Wake a worker for a queue soon; never raises and never waits."""
    _waker.wake(queue)


def send_wake_up(queue: str) -> bool:
    """Send a wake-up message. Nothing depends on it: the dispatcher repeats it while the queue has due jobs."""
    try:
        app.send_task("jobs.run", (queue,), queue=broker_queue(queue), retry=False, ignore_result=True)
    except Exception as error:  # noqa: BLE001  # whatever a broker's client raises
        log.warning("the broker does not respond (%s); workers of %s are woken later", type(error).__name__, queue)
        return False
    return True


def dispatch() -> None:
    """Wake a worker for every queue that has due jobs."""
    for queue in find_due_queues():
        wake(queue)
