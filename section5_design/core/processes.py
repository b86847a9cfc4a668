"""Processes that end with their parent."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int | None = None) -> None:
    """On Linux, receive SIGTERM when the parent dies; call it in the child, right after the fork.

    Args:
        parent: PID of the parent as it recorded it before the fork. It may be 1: a container's main process. Without
            it, a parent that died before this call goes unnoticed.

    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if parent is not None and os.getppid() != parent:
            os._exit(1)


def child_setup() -> Callable[[], None]:
    """Return a `preexec_fn` for `subprocess.Popen` that ties the child to this process."""
    parent = os.getpid()
    return lambda: end_with_parent(parent)
