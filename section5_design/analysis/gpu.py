"""GPU slots of this machine: locks, which the kernel releases when their process ends."""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.conf import settings

from jobs.handlers import PostponeError

BUSY_SECONDS = 1.0  # until a job without a free slot is tried again


@contextmanager
def gpu_slots(count: int) -> Iterator[tuple[int, ...]]:
    """Hold a number of slots, and return their numbers.

    Raises:
        PostponeError: fewer are free.

    """
    held: list[int] = []
    with ExitStack() as stack:
        for number in range(settings.GPU_SLOTS if count else 0):
            file = stack.enter_context((settings.DATA_FOLDER / f"gpu-{number}.lock").open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            held.append(number)
            if len(held) == count:
                break
        if len(held) < count:
            raise PostponeError(BUSY_SECONDS)
        yield tuple(held)
