"""Keeping the threads of a process on one processor, where they can only run in turns."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def on_one_processor() -> Iterator[None]:
    """Keep this thread, and those that it starts, on the processor that it runs on.

    With a global interpreter lock only one thread runs at a time; handing the lock from one processor to another costs
    more than the work on a small element. Does nothing where Python has no such lock, or the system no such call.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)() or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        # proc(5): field 39 of stat is the processor last run on; the name in field 2 may hold blanks.
        here = int(Path("/proc/thread-self/stat").read_text("ascii", "replace").rpartition(")")[2].split()[36])
        os.sched_setaffinity(0, {here})
    except (OSError, ValueError, IndexError):  # a speed-up only: without it all is slower, not wrong
        yield
        return
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
