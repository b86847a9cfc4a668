"""Parts of the running system are killed, cut off and misled; afterwards the ledger is clean.

Every acknowledged instance has exactly one result or a stated reason; what was not acknowledged left nothing behind.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import psutil
import pytest

from system import SECTION, System, database, family, instance, kill_all, listens, needs, one_at_a_time, until

# A site's own analysis, as hostile as files can make one: what it does stands in the patient's ID.
HOSTILE = """
import ctypes, os, time, pydicom
from analysis.default import analyse as ours
def analyse(file, context):
    what = str(pydicom.dcmread(file, stop_before_pixels=True).PatientID)
    file.seek(0)
    if what == "segfault": ctypes.string_at(0)
    if what == "memory": bytearray(64 << 30)
    if what == "for ever":
        while True: time.sleep(1)
    if what == "slowly":
        open(os.environ["DATA_FOLDER"] + "/slow", "w").close()
        while not os.path.exists(os.environ["DATA_FOLDER"] + "/go on"): time.sleep(0.05)
    return ours(file, context)
"""
QUICKLY = {"TASK_SECONDS": "3", "LEASE_SECONDS": "4", "MAX_ATTEMPTS": "2"}


@pytest.fixture(scope="module", params=["filesystem", "rabbitmq"])
def faulty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system with short limits and the hostile analysis, on each kind of broker."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "hostile.py").write_text(HOSTILE, encoding="utf-8")
    environment = {**QUICKLY, "ANALYSIS": "hostile.analyse", "PYTHONPATH": str(folder)}
    with (
        broker(request.param) as settings,
        database(f"faulty_{os.getpid()}") as url,
        System(folder, url, **environment, **settings) as running,
    ):
        yield running


@contextlib.contextmanager
def broker(kind: str) -> Iterator[dict[str, str]]:
    """Yield the settings for a kind of broker.

    The machine's RabbitMQ is lent to one system at a time; without one the tests are skipped, or fail where CI is set.
    """
    if kind == "filesystem":
        yield {}
        return
    if not listens(5672):
        missing = "needs RabbitMQ on port 5672: apt install rabbitmq-server"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with one_at_a_time("rabbitmq"):
        yield {"BROKER_URL": "amqp://guest:guest@127.0.0.1:5672//"}


def send(system: System, count: int = 1, **changes: Any) -> list[str]:
    uids = []
    for _ in range(count):
        uid, content = instance(**changes)
        assert system.post(content).status == 200
        uids.append(uid)
    return uids


def has_results(system: System, uids: list[str]) -> None:
    for uid in uids:
        assert system.wait_for(uid) == ("done", "")
        assert system.results_of(uid) == 1


def children_at_work(system: System) -> list[psutil.Process]:
    return [process for process in family(system.parts["worker"].pid) if not process.children()]


def test_a_file_that_kills_its_process_is_quarantined_and_others_go_on(faulty: System) -> None:
    (poisoned,) = send(faulty, PatientID="segfault")
    has_results(faulty, send(faulty, 5))
    state, reason = faulty.wait_for(poisoned, "quarantined")
    assert "the worker process died" in reason
    assert faulty.query("SELECT attempts FROM analysis_job WHERE state = 'quarantined' ORDER BY id DESC")[0] == (2,)
    assert state == "quarantined"


def test_a_file_that_exhausts_memory_is_quarantined(faulty: System) -> None:
    (eater,) = send(faulty, PatientID="memory")
    assert "needs more memory" in faulty.wait_for(eater, "quarantined")[1]
    has_results(faulty, send(faulty))


def test_a_file_that_never_ends_is_quarantined(faulty: System) -> None:
    (endless,) = send(faulty, PatientID="for ever")
    has_results(faulty, send(faulty, 3))
    faulty.wait_for(endless, "quarantined")


def test_a_killed_child_costs_one_attempt(faulty: System) -> None:
    (slow,) = send(faulty, PatientID="slowly")
    until((faulty.folder / "slow").exists)
    kill_all(children_at_work(faulty))
    (faulty.folder / "go on").touch()
    has_results(faulty, [slow])
    clear(faulty)


def clear(system: System) -> None:
    for name in ("slow", "go on"):
        (system.folder / name).unlink(missing_ok=True)


def test_a_killed_worker_is_replaced(faulty: System) -> None:
    (slow,) = send(faulty, PatientID="slowly")
    until((faulty.folder / "slow").exists)
    faulty.kill("worker")
    more = send(faulty, 3)
    (faulty.folder / "go on").touch()
    faulty.start("worker")
    has_results(faulty, [slow, *more])
    clear(faulty)


def test_a_worker_stopped_past_its_lease_writes_nothing_when_it_resumes(faulty: System) -> None:
    (slow,) = send(faulty, PatientID="slowly")
    until((faulty.folder / "slow").exists)
    stopped = family(faulty.parts["worker"].pid)
    for process in stopped:
        process.suspend()
    old = faulty.parts["worker"]
    faulty.start("worker")
    (faulty.folder / "go on").touch()
    has_results(faulty, [slow])
    for process in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()
    until(lambda: faulty.query("SELECT count(*) FROM analysis_job WHERE state = 'running'") == [(0,)])
    has_results(faulty, [slow])
    old.send_signal(signal.SIGTERM)
    old.wait(30)
    clear(faulty)


def test_a_worker_that_is_terminated_finishes_its_jobs(faulty: System) -> None:
    (slow,) = send(faulty, PatientID="slowly")
    until((faulty.folder / "slow").exists)
    faulty.parts["worker"].terminate()
    (faulty.folder / "go on").touch()
    assert faulty.parts["worker"].wait(30) == 0
    assert faulty.state_of(slow)[0] == "done"
    assert faulty.query("SELECT attempts FROM analysis_job ORDER BY id DESC LIMIT 1") == [(1,)]
    faulty.start("worker")
    clear(faulty)


def test_images_received_without_workers_are_processed_later(faulty: System) -> None:
    faulty.kill("worker")
    faulty.kill("maintenance")
    uids = send(faulty, 5)
    assert [faulty.state_of(uid)[0] for uid in uids] == ["queued"] * 5
    faulty.start("worker")
    faulty.start("maintenance")
    has_results(faulty, uids)


def test_purged_queues_lose_nothing(faulty: System) -> None:
    faulty.kill("worker")
    uids = send(faulty, 5)
    purge(faulty)
    faulty.start("worker")
    has_results(faulty, uids)


def purge(system: System) -> None:
    code = (
        "from config.celery import app\n"
        "with app.connection() as c:\n"
        "  for name in ('jobs-small', 'jobs-large'): c.default_channel.queue_purge(name)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=SECTION, env=system.environment, check=True, capture_output=True)


def test_an_undeliverable_wake_up_is_dropped_and_its_jobs_run(faulty: System) -> None:
    if "BROKER_URL" not in faulty.environment:
        return  # files have no count of deliveries
    faulty.kill("worker")
    faulty.kill("maintenance")
    purge(faulty)
    (uid,) = send(faulty)
    with kombu.Connection(faulty.environment["BROKER_URL"]) as connection:
        channel = connection.default_channel
        for _ in range(6):
            until(lambda: reject(channel))
        until(lambda: channel.queue_declare("jobs-small", passive=True).message_count == 0)
    faulty.start("worker")
    faulty.start("maintenance")
    has_results(faulty, [uid])


def reject(channel: Any) -> bool:
    """Return a message to the queue, as a worker that dies does."""
    message = channel.basic_get("jobs-small")
    if message:
        channel.basic_reject(message.delivery_tag, requeue=True)
    return message is not None


@contextlib.contextmanager
def half_an_upload(system: System) -> Iterator[tuple[str, http.client.HTTPConnection]]:
    """An upload of which the first half has arrived: its UID, and the sender."""
    uid, content = instance()
    before = set(system.spooled())  # what killed parts left, which the sweeper removes in an hour
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", system.http)) as client:
        client.putrequest("POST", "/dicom-web/studies")
        client.putheader("Content-Type", "application/dicom")
        client.putheader("Content-Length", str(len(content)))
        client.endheaders()
        client.send(content[:20_000])
        until(lambda: set(system.spooled()) - before)
        yield uid, client


def test_an_aborted_upload_leaves_nothing(faulty: System) -> None:
    before = set(faulty.spooled())
    with half_an_upload(faulty) as (uid, client):
        client.close()
        until(lambda: not set(faulty.spooled()) - before)
    assert faulty.state_of(uid) == ("", "")


def test_a_web_process_killed_during_an_upload_loses_nothing(faulty: System) -> None:
    with half_an_upload(faulty) as (uid, _):
        faulty.kill("web")
    faulty.start("web")
    until(lambda: listens(faulty.http))
    assert faulty.state_of(uid) == ("", "")
    has_results(faulty, send(faulty))
    swept = "import django; django.setup(); from archive.garbage import collect_files; print(collect_files(min_age=0))"
    done = subprocess.run(
        [sys.executable, "-c", swept], cwd=SECTION, env=faulty.environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) >= 1
    assert not faulty.spooled()


def test_quarantined_jobs_are_listed_and_requeued(faulty: System) -> None:
    (poisoned,) = send(faulty, PatientID="memory")
    faulty.wait_for(poisoned, "quarantined")

    def job(*words: str) -> str:
        command = [sys.executable, str(SECTION / "manage.py"), "job", *words]
        done = subprocess.run(command, env=faulty.environment, capture_output=True, text=True, check=True)
        return done.stdout

    line = next(line for line in job("list").splitlines() if poisoned in line)
    assert "needs more memory" in line
    assert job("requeue", line.split("\t")[0]) == "1 of 1 requeued\n"
    until(lambda: faulty.state_of(poisoned)[0] == "quarantined")
    kinds = faulty.query(
        "SELECT kind FROM audit_event WHERE sop_instance_uid = %s ORDER BY id",
        poisoned,
    )
    assert [kind for (kind,) in kinds] == ["received", "quarantined", "requeued", "quarantined"]


def test_a_receiver_killed_during_an_association_loses_nothing(faulty: System, tmp_path: Path) -> None:
    storescu = needs("storescu", "dcmtk")
    uids = []
    for number in range(200):
        uid, content = instance()
        (tmp_path / f"{number:03}").write_bytes(content)
        uids.append(uid)
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    command = [storescu, "-v", "-aec", "SECTION5", "localhost", str(faulty.dicom), *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sender:
        assert sender.stdout
        acknowledged = 0
        for line in sender.stdout:
            acknowledged += "Received Store Response (Success)" in line
            if acknowledged == 20 and faulty.parts["receiver"].poll() is None:
                faulty.kill("receiver")
    faulty.start("receiver")
    until(lambda: listens(faulty.dicom))
    assert 20 <= acknowledged < 200
    has_results(faulty, uids[:acknowledged])
    stored = sum(faulty.state_of(uid)[0] != "" for uid in uids)
    assert acknowledged <= stored <= acknowledged + 1  # the last one's answer may have been lost on its way
    subprocess.run([*command, "-R"], check=False, capture_output=True)
    has_results(faulty, uids)


def test_everything_killed_at_once_resumes(faulty: System) -> None:
    uids = send(faulty, 10)
    for name in ("web", "receiver", "worker", "maintenance"):
        faulty.kill(name)
    for name in ("web", "receiver", "worker", "maintenance"):
        faulty.start(name)
    has_results(faulty, uids)


def test_the_ledger_is_clean_after_all_faults(faulty: System) -> None:
    faulty.settle()
    faulty.ledger()
