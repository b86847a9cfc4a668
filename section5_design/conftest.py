"""Give every test a real PostgreSQL: that of DATABASE_URL, or an embedded one in a temporary folder."""

import atexit
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "tests")]  # for a bare `pytest`, too

import django  # noqa: E402
import psycopg2  # noqa: E402
import pytest  # noqa: E402

from local.embedded_postgres import EmbeddedPostgres  # noqa: E402

_folder = tempfile.TemporaryDirectory(prefix="section5-tests-")
Path(_folder.name).chmod(0o755)  # if root runs the tests, the server runs as `nobody`
atexit.register(_folder.cleanup)
if not os.environ.get("DATABASE_URL"):
    _server = EmbeddedPostgres(Path(_folder.name) / "data")
    _server.start()
    atexit.register(_server.stop)  # before the folder is removed
    with contextlib.closing(psycopg2.connect(_server.url)) as _connection:  # tests kill processes, not the machine
        _connection.autocommit = True
        for _statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
            _connection.cursor().execute(_statement)
    os.environ["DATABASE_URL"] = _server.url

for _name in ("STORAGE_URL", "BROKER_URL", "ALLOWED_HOSTS", "STANDBY_URL", "LEASE_SECONDS", "TASK_SECONDS"):
    os.environ.pop(_name, None)
if "PYTEST_XDIST_WORKER" not in os.environ:  # several processes share the folder of the first
    os.environ["DATA_FOLDER"] = str(Path(_folder.name) / "system")
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
os.environ["TCP_NODELAY"] = "1"  # DCMTK's tools read it
django.setup()  # pytest-django looks for settings before it reads this file

from analysis.models import Result  # noqa: E402  # Django first
from archive.encryption import key_by_id, wrapping_key  # noqa: E402
from archive.object_store import store  # noqa: E402
from archive.spool import spool_folder  # noqa: E402
from core.partitions import make_partitions  # noqa: E402
from object_server import ObjectServer  # noqa: E402
from system import System, database  # noqa: E402


@pytest.fixture
def local_store(transactional_db: None, tmp_path: Path, settings: Any) -> Iterator[Path]:  # noqa: ARG001
    """Give a test a store and a spool of its own; the keys of earlier tests went with their rows."""
    make_partitions()
    settings.DATA_FOLDER, settings.WORK_FOLDER = tmp_path, tmp_path / "work"
    settings.STORAGE_URL, settings.SPOOL_FOLDER = f"file://{tmp_path / 'store'}", tmp_path / "spool"
    caches = (store, spool_folder, wrapping_key, key_by_id)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    Result.history.all().delete()  # a partitioned table, which the flush between the tests does not know
    for cached in caches:
        cached.cache_clear()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Run the complete system, with its own database and Celery's filesystem transport."""
    with database(f"live_{os.getpid()}") as url, System(tmp_path_factory.mktemp("system"), url) as running:
        yield running


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """Run an S3 server."""
    with ObjectServer(tmp_path_factory.mktemp("s3")) as server:
        yield server


# The files that take longest start first, so that no process of pytest-xdist is still busy when the others are done.
SLOW = ("faults", "portal", "outages", "access", "audit", "failover", "operation", "application_entities", "s3")


@pytest.hookimpl(trylast=True)  # after pytest-django sorted the tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow modules."""
    names = [f"test_{name}" for name in SLOW]
    items.sort(key=lambda item: names.index(item.path.stem) if item.path.stem in names else len(names))
