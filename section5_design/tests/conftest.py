"""A real PostgreSQL for every test: DATABASE_URL's, or else an embedded one in a folder that goes away."""

import atexit
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import pytest

from local.embedded_postgres import EmbeddedPostgres

_folder = tempfile.TemporaryDirectory(prefix="section5-tests-")
Path(_folder.name).chmod(0o755)  # where root runs the tests, the server is nobody's
atexit.register(_folder.cleanup)
if not os.environ.get("DATABASE_URL"):
    _server = EmbeddedPostgres(Path(_folder.name) / "data")
    _server.start()
    atexit.register(_server.stop)  # before the folder goes
    os.environ["DATABASE_URL"] = _server.url

for _name in ("STORAGE_URL", "BROKER_URL", "ALLOWED_HOSTS", "LEASE_SECONDS", "TASK_SECONDS"):
    os.environ.pop(_name, None)
if "PYTEST_XDIST_WORKER" not in os.environ:  # of several processes the first says it for all
    os.environ["DATA_FOLDER"] = str(Path(_folder.name) / "system")
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
os.environ["TCP_NODELAY"] = "1"  # DCMTK's tools read it
django.setup()  # pytest-django looks for settings before this file is read

from system import System, database  # noqa: E402  # Django first


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The whole system, on a database of its own and Celery's filesystem transport."""
    with database(f"live_{os.getpid()}") as url, System(tmp_path_factory.mktemp("system"), url) as running:
        yield running
