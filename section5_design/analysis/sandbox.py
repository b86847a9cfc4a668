"""Run a site's command within limits, without network and, where the system allows it, without sight of other data.

Linux namespaces (util-linux' `unshare`) give the command no network, no other processes, one folder to write to, and
empty folders in place of keys, objects and spool; when it ends, the kernel ends everything that it started. Where they
are not allowed, as in some containers, the command runs with the limits only, and its results say so (`isolated`).
"""

import contextlib
import logging
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import psutil
from django.conf import settings

from analysis.contract import UnprocessableError

log = logging.getLogger("section5.analysis")

MAX_PROCESSES = 64
MAX_FILES = 10_000  # written
KILL_SECONDS = 10
STEP = 0.05  # seconds between two looks at a running command
UNSHARE = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--ipc", "--mount", "--mount-proc", "--fork"]
# Makes every file system read-only except the command's folder, hides folders and files, then drops the rights that
# could undo that.
ISOLATE = """
set -f
IFS='
'
mount --bind "$WORK" "$WORK" || exit 125
cut -d ' ' -f 2 /proc/self/mounts | while read -r path; do
    [ "$path" = "$WORK" ] || mount -o remount,bind,ro "$path" 2> /dev/null
done
for path in $HIDDEN; do
    if [ -d "$path" ]; then mount -t tmpfs -o size=4k,ro tmpfs "$path"
    else mount --bind /dev/null "$path"; fi || exit 125
done
unset HIDDEN IFS
cd "$WORK/results"
exec setpriv --bounding-set -all --inh-caps -all --no-new-privs "$@"
"""


@dataclass(frozen=True)
class Limits:
    """Limits of a command and of everything that it starts."""

    seconds: float
    memory_mb: int
    output_mb: int


def run_command(command: Sequence[str], work: Path, limits: Limits, environment: Mapping[str, str]) -> None:
    """Run a command, and wait for its end.

    Args:
        command: program and arguments; it also receives the folders to read and to write.
        work: a folder with empty folders `home` and `results`, and `inputs`; it can write nowhere else.
        limits: what ends it early.
        environment: variables for it.

    Raises:
        UnprocessableError: it failed, or exceeded a limit and was killed with everything that it started.

    """
    process = subprocess.Popen(  # noqa: S603  # the command of the site
        [*limit_prefix(limits), *isolation_prefix(), *command, str(work / "inputs"), str(work / "results")],
        cwd=work / "results",
        env=build_environment(work, environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # its output may name a patient
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        fault = watch(process, work, limits)
    finally:
        kill(process)
    if fault:
        raise UnprocessableError(f"the command {fault}")


def watch(process: "subprocess.Popen[bytes]", work: Path, limits: Limits) -> str:
    """Wait for the end of a command, and return what was wrong; empty if nothing."""
    until = time.monotonic() + limits.seconds
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STEP)
        if fault := find_excess(process, work, limits):
            return fault
        if process.returncode is not None:
            return describe_status(process.returncode)
        if time.monotonic() >= until:
            return f"took more than {limits.seconds:g} seconds"


def find_excess(process: "subprocess.Popen[bytes]", work: Path, limits: Limits) -> str:
    """Return the limit that a command exceeds; empty if none."""
    family = list_family(process.pid)
    if len(family) > MAX_PROCESSES:
        return f"started more than {MAX_PROCESSES} processes"
    memory = 0
    for one in family:
        with contextlib.suppress(psutil.Error):
            memory += one.memory_info().rss
    if memory > limits.memory_mb << 20:
        return f"needs more than {limits.memory_mb} MB of memory"
    size = count = 0
    for folder, folders, names in chain(os.walk(work / "results"), os.walk(work / "home")):
        count += len(folders) + len(names)
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118
        if count > MAX_FILES:
            return f"wrote more than {MAX_FILES:,} files"
    return f"wrote more than {limits.output_mb} MB" if size >= limits.output_mb << 20 else ""


def describe_status(status: int) -> str:
    """Describe how a command ended; empty for success."""
    if status in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ):
        return "wrote a file that is larger than its limit"
    if status < 0:
        return f"was ended by signal {-status}"
    return f"ended with status {status}" if status else ""


def list_family(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a command with everything that it started; in namespaces the kernel does that when the first one ends."""
    family = list_family(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    psutil.wait_procs(family, KILL_SECONDS)  # a namespace ends a moment after the process that made it


def limit_prefix(limits: Limits) -> list[str]:
    """Return the program that sets the limits of each process: memory, file size, no core dumps."""
    return ["prlimit", f"--as={limits.memory_mb << 20}", f"--fsize={limits.output_mb << 20}", "--core=0"]


@lru_cache(maxsize=1)
def isolation_prefix() -> tuple[str, ...]:
    """Return the program that isolates a command; empty if this machine does not allow it, which is logged."""
    prefix = (*UNSHARE, "--kill-child", "--", "sh", "-c", ISOLATE, "sh")
    with contextlib.suppress(OSError, subprocess.TimeoutExpired), work_folder() as work:
        probe = [*prefix, "true"]
        done = subprocess.run(probe, env=build_environment(work, {}), capture_output=True, timeout=10, check=False)  # noqa: S603
        if not done.returncode:
            return prefix
    log.warning("this machine allows no namespaces: commands run with access to network and files")
    return ()


def build_environment(work: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: nothing of this process, which has secrets, but paths and language."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    return kept | {"HOME": str(work / "home"), "WORK": str(work), "HIDDEN": "\n".join(find_hidden()), **environment}


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """Create a folder for decrypted files, with folders `inputs`, `results` and `home`; it is removed at the end."""
    settings.WORK_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=settings.WORK_FOLDER) as name:
        for part in ("inputs", "results", "home"):
            Path(name, part).mkdir()
        yield Path(name)


def find_hidden() -> list[str]:
    """Return the folders and files that no command may see: everything in DATA_FOLDER but its own, and the keys."""
    folders = [path for path in settings.DATA_FOLDER.iterdir() if path != settings.WORK_FOLDER]
    keys = [Path(path) for path in (settings.MASTER_KEY_FILE, settings.SIGNING_KEY_FILE, settings.TLS_KEY) if path]
    keys = [path for path in keys if path.exists() and not path.is_relative_to(settings.DATA_FOLDER)]
    return [str(path) for path in (*folders, *keys)]
