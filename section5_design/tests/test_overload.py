"""A worker over its limits stops consuming: it leaves the jobs and the wake-ups to the others."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from system import OVER_HTTP, SECTION, System, database, instance, until
from test_faults import broker

COUNT = 60


@pytest.fixture(params=["filesystem", "rabbitmq"])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("overload")
    with (
        broker(request.param) as settings,
        database(f"overload_{os.getpid()}") as url,
        System(folder, url, OVER_HTTP, **settings) as running,
    ):
        yield running


def test_beside_an_overloaded_worker_every_job_is_done(system: System) -> None:
    command = [sys.executable, str(SECTION / "main.py"), "worker", "--processes", "4"]
    full = system.environment | {"MAX_CPU": "0"}
    with subprocess.Popen(command, env=full, stdout=system.log, stderr=system.log) as overloaded:
        try:
            until(lambda: system.query("SELECT count(*) FROM jobs_worker WHERE state = 'full'") == [(1,)])
            for _ in range(COUNT):
                assert system.post(instance()[1]).status == 200
            until(lambda: system.query("SELECT count(*) FROM jobs_job WHERE state = 'done'") == [(COUNT,)], 60)
            ((full_worker,),) = system.query("SELECT name FROM jobs_worker WHERE state = 'full'")
            assert system.query("SELECT count(*) FROM jobs_attempt WHERE worker = %s", full_worker) == [(0,)]
        finally:
            overloaded.terminate()
    assert "restarting the pool" not in (system.folder / "log").read_text()
