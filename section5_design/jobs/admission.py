"""Admission control: whether this machine, or this container, has capacity for more work."""

import os
from pathlib import Path

import psutil
from django.conf import settings

CGROUP = Path("/sys/fs/cgroup")


def overloaded() -> bool:
    """Return whether this machine or container is over its memory or its CPU limit."""
    return bool(memory_percent() >= settings.MAX_MEMORY or load_percent() >= settings.MAX_CPU)


def memory_percent(cgroup: Path = CGROUP) -> float:
    """Return the memory in use, in percent of the container's limit, or of the machine if it has none (cgroup v2).

    Cached files do not count: the kernel drops them when memory is needed.
    """
    limit, used = read_number(cgroup / "memory.max"), read_number(cgroup / "memory.current")
    if limit is None or used is None:
        return float(psutil.virtual_memory().percent)
    statistics = cgroup / "memory.stat"
    cached = read_statistic(statistics, "active_file") + read_statistic(statistics, "inactive_file")
    return 100 * max(0, used - cached) / limit


def load_percent(cgroup: Path = CGROUP) -> float:
    """Return the load in percent; more than 100 is more than the cores can do.

    In a container with a CPU quota it comes from the share of the last minute in which a process of it waited for CPU
    (pressure stall information): 50 % are a load of 100, 80 % one of 400. Else it is the load average by the cores.
    """
    try:
        quota = (cgroup / "cpu.max").read_text().split()[0]
        pressure = (cgroup / "cpu.pressure").read_text().splitlines()[0]
    except (OSError, IndexError):
        quota = "max"
    if quota == "max":
        return 100 * os.getloadavg()[0] / (os.cpu_count() or 1)
    waiting = float(dict(word.split("=") for word in pressure.split()[1:])["avg60"])
    return 100 * waiting / max(1.0, 100.0 - waiting)


def read_number(path: Path) -> int | None:
    """Return the number in a file; None if it is missing, or says "max"."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def read_statistic(path: Path, name: str) -> int:
    """Return a value of a file of names and values; 0 if it is missing."""
    try:
        values = dict(line.split(maxsplit=1) for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(values.get(name, 0))
