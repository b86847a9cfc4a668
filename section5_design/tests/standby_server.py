"""A streaming standby of an embedded PostgreSQL, for the tests and the benchmarks."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2

from local.embedded_postgres import EmbeddedPostgres


class Standby(EmbeddedPostgres):
    """A streaming standby of an embedded server."""

    def __enter__(self) -> "Standby":
        self.start()
        return self

    def __init__(self, folder: Path, primary: EmbeddedPostgres) -> None:
        super().__init__(folder)
        self._make_folder(self.folder)
        self._bin = self._binaries()
        parts = urlsplit(primary.url)
        source = f"host={unquote(parts.hostname or '')} user={parts.username} password={parts.password}"
        self._run("pg_basebackup", "-D", self._data, "-d", source, "-R", "--checkpoint=fast")
        shutil.copy2(primary.folder / "password", self.folder)

    def run(self, statement: str) -> None:
        with contextlib.closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Receive what the primary writes, and do not apply it."""
        self.run("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            self.run("SELECT pg_wal_replay_resume()")
