"""Give every test a real PostgreSQL: that of DATABASE_URL, or an embedded one in a temporary folder."""

import atexit
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "tests")]  # for a bare `pytest`, too

import django  # noqa: E402
import pytest  # noqa: E402

from local.embedded_postgres import EmbeddedPostgres  # noqa: E402

_folder = tempfile.TemporaryDirectory(prefix="section5-tests-")
Path(_folder.name).chmod(0o755)  # run by root, the server belongs to nobody
atexit.register(_folder.cleanup)
if not os.environ.get("DATABASE_URL"):
    _server = EmbeddedPostgres(Path(_folder.name) / "data")
    _server.start()
    atexit.register(_server.stop)  # before the folder is removed
    os.environ["DATABASE_URL"] = _server.url

for _name in ("STORAGE_URL", "BROKER_URL", "ALLOWED_HOSTS", "LEASE_SECONDS", "TASK_SECONDS"):
    os.environ.pop(_name, None)
if "PYTEST_XDIST_WORKER" not in os.environ:  # several processes share the folder of the first
    os.environ["DATA_FOLDER"] = str(Path(_folder.name) / "system")
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
os.environ["TCP_NODELAY"] = "1"  # DCMTK's tools read it
django.setup()  # pytest-django looks for settings before it reads this file

from object_server import ObjectServer  # noqa: E402
from system import System, database  # noqa: E402  # Django first


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
