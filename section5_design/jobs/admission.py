"""Admission control: whether this machine has capacity for more work."""

import os

import psutil
from django.conf import settings


def overloaded() -> bool:
    """Return whether this machine is over its memory or its CPU limit."""
    return bool(psutil.virtual_memory().percent >= settings.MAX_MEMORY or load_percent() >= settings.MAX_CPU)


def load_percent() -> float:
    """Return the runnable processes of the last minute in percent of the cores; more than 100 if some had to wait."""
    return 100 * os.getloadavg()[0] / (os.cpu_count() or 1)
