"""Whether this machine has room for more work."""

import os

import psutil
from django.conf import settings


def overloaded() -> bool:
    """Whether this machine is over its memory or its CPU threshold."""
    return bool(psutil.virtual_memory().percent >= settings.MAX_MEMORY or load_percent() >= settings.MAX_CPU)


def load_percent() -> float:
    """Processes that want to run, of the last minute, in percent of the cores: more than 100 where they wait."""
    return 100 * os.getloadavg()[0] / (os.cpu_count() or 1)
