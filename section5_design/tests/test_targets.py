"""Registered analyses on stored images: which images a result covers, when images come late, and what is kept."""

import itertools
import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage

from analysis.contract import Context, Output
from analysis.models import Result, Run, Target
from analysis.registry import load_analyses
from analysis.services import run_again
from analysis.targets import KIND
from archive.erasure import erase_study
from archive.models import Instance, Release, Series, Study
from archive.object_store import store
from ingest.dimse.receiver import Server
from jobs.models import Job
from pipeline import announce, make_due, query, run_due, run_jobs, send, send_series
from system import instance, needs, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local_store")]
Register = Callable[..., None]

COUNT = 'echo "{\\"images\\": $(ls $1 | wc -l)}" > $2/figures.json'


@pytest.fixture
def register(tmp_path: Path, settings: Any) -> Iterator[Register]:
    """Register an analysis; by default a command that counts the images of a series."""

    def write(**changes: Any) -> None:
        values = {"version": "1", "scope": "series", "command": ["sh", "-c", COUNT, "sh"]} | changes
        if "function" in changes:
            del values["command"]
        lines = [f"{key} = {toml(value)}" for key, value in values.items()]
        path = tmp_path / "analyses.toml"
        path.write_text("\n".join(["[count]", *lines]))
        settings.ANALYSES = str(path)
        load_analyses.cache_clear()

    yield write
    load_analyses.cache_clear()


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def current() -> Run:
    """The only current run."""
    found: Run = Run.objects.get(superseded=False)
    return found


def test_series_is_analysed_once_after_its_quiet_period(register: Register) -> None:
    register()
    sent = send_series(3)
    announce()
    run_due()  # the default analysis of each image
    assert not Run.objects.exists()
    run_jobs()
    assert (current().inputs, current().figures) == ([one.instance_id for one in sent], {"images": 3})
    assert Run.objects.count() == 1


def test_series_with_the_stated_number_of_images_does_not_wait(register: Register) -> None:
    register(images=3)
    send_series(2)
    announce()
    run_due()
    assert not Run.objects.exists()
    send(instance(InstanceNumber=3)[1])
    announce()
    run_due()
    assert current().figures == {"images": 3}


def test_steady_arrivals_delay_a_series_only_for_ten_quiet_periods(register: Register) -> None:
    register(quiet_seconds=60)
    send_series(2)
    announce()
    for waited, runs in ((9, 0), (10, 1), (9, 1)):  # in minutes
        query("UPDATE analysis_target SET waiting_since = now() - make_interval(mins => %s) RETURNING id", waited)
        send(instance(InstanceNumber=waited)[1])
        announce()
        run_due()
        assert Run.objects.count() == runs
    assert current().figures == {"images": 4}
    run_jobs()
    assert current().figures == {"images": 5}


@pytest.fixture
def receiver_port() -> Iterator[int]:
    """Run a receiver; its database sessions are closed in the end."""
    server = Server("127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.port
    query(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def write_two_series(folder: Path) -> list[str]:
    """Write two series of two images each."""
    for number in range(4):
        place: dict[str, Any] = {
            "StudyInstanceUID": "1.2",
            "SeriesInstanceUID": f"1.2.{number // 2}",
            "InstanceNumber": number,
        }
        (folder / f"{number}.dcm").write_bytes(instance(**place)[1])
    return [str(path) for path in sorted(folder.glob("*.dcm"))]


def test_release_of_an_association_ends_the_quiet_period(
    register: Register, receiver_port: int, tmp_path: Path
) -> None:
    register(on_release=True, quiet_seconds=3600)
    command = [needs("storescu", "dcmtk"), "localhost", str(receiver_port), *write_two_series(tmp_path)]
    subprocess.run(command, check=True, env=os.environ | {"TCP_NODELAY": "1"})
    until(Release.objects.exists)
    announce()
    run_due()
    assert sorted((run.figures["images"], run.superseded) for run in Run.objects.all()) == [(2, False), (2, False)]
    assert not Release.objects.exists()
    query("UPDATE jobs_job SET next_run_at = now() WHERE state = 'queued' RETURNING id")
    assert run_due() == 0


def test_aborted_association_does_not_end_the_quiet_period(
    register: Register, receiver_port: int, tmp_path: Path
) -> None:
    register(on_release=True, quiet_seconds=3600)
    entity = AE()
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", receiver_port)
    for path in write_two_series(tmp_path):
        assert association.send_c_store(path).Status == 0
    association.abort()
    again = entity.associate("127.0.0.1", receiver_port)  # duplicates bring nothing
    assert again.send_c_store(path).Status == 0
    again.release()
    announce()
    run_due()
    assert not Run.objects.exists()


def test_late_image_makes_a_new_run_and_the_earlier_one_stays_readable(register: Register) -> None:
    register()
    first = [one.instance_id for one in send_series(2)]
    run_jobs()
    late = send(instance(InstanceNumber=1)[1]).instance_id
    run_jobs()
    assert current().figures == {"images": 3}
    assert set(current().inputs) == {*first, late}
    earlier = Run.objects.get(superseded=True)
    assert (earlier.inputs, earlier.figures) == (first, {"images": 2})


def test_image_that_comes_while_its_series_runs_makes_another_run(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    send_series(2)
    announce()
    make_due()
    from analysis import targets

    original = targets.run_analysis

    def run_and_receive(*arguments: Any) -> Output:
        monkeypatch.setattr(targets, "run_analysis", original)
        thread = threading.Thread(target=receive_one)
        thread.start()
        thread.join()
        return original(*arguments)

    monkeypatch.setattr(targets, "run_analysis", run_and_receive)
    run_jobs()
    assert [run.figures["images"] for run in Run.objects.order_by("pk")] == [2, 3]
    assert current().figures == {"images": 3}


def receive_one() -> None:
    """Store and announce an image, in a thread with a connection of its own."""
    send(instance()[1])
    announce()
    connections.close_all()


def test_same_content_again_makes_no_run(register: Register) -> None:
    register()
    _, content = instance()
    send(content)
    run_jobs()
    send(content, "folder:other")
    run_jobs()
    assert Run.objects.count() == 1


def test_images_are_in_the_order_of_their_numbers(register: Register) -> None:
    register()
    ids = [send(instance(InstanceNumber=number)[1]).instance_id for number in (3, 1, 2)]
    run_jobs()
    assert current().inputs == [ids[1], ids[2], ids[0]]


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({"modality": ["CT"]}, 2),
        ({"modality": ["MR"]}, 0),
        ({"sop_class": ["1.2.840.10008.5.1.4.1.1.2"]}, 2),
        ({"sop_class": ["1.2.840.10008.5.1.4.1.1.4"]}, 0),
        ({"where": {"ImageType": ["AX*"]}}, 2),
        ({"where": {"InstanceNumber": ["2"]}}, 1),
        ({"where": {"ImageType": ["AXIAL"], "InstanceNumber": ["3"]}}, 0),
        ({"where": {"BodyPartExamined": ["CHEST"]}}, 0),
    ],
)
def test_selection_decides_which_images_are_covered(register: Register, changes: dict[str, Any], images: int) -> None:
    register(**changes)
    send_series(2)
    run_jobs()
    assert [run.figures["images"] for run in Run.objects.all()] == ([images] if images else [])


@pytest.mark.parametrize(("scope", "targets"), [("instance", 4), ("series", 2), ("study", 1)])
def test_scope_decides_what_one_result_is_about(register: Register, scope: str, targets: int) -> None:
    register(scope=scope)
    for series in ("1.2.3.1", "1.2.3.2"):
        send_series(2, StudyInstanceUID="1.2.3", SeriesInstanceUID=series)
    run_jobs()
    assert Counter(len(run.inputs) for run in Run.objects.all()) == {4 // targets: targets}


def count_files(files: Any, context: Context) -> tuple[dict[str, Any], bytes]:
    """An analysis of a series."""
    return {"starts": [file.read(132)[128:].decode() for file in files], "least": context.parameters["least"]}, b""


def test_function_on_a_series_reads_one_file_after_the_other(register: Register) -> None:
    register(function="test_targets.count_files", parameters={"least": 3})
    send_series(3)
    run_jobs()
    assert current().figures == {"starts": ["DICM"] * 3, "least": 3}
    assert (current().parameters, current().version) == ({"least": 3}, "1")


def never_end(file: Any, context: Context) -> Any:
    for _ in itertools.count():
        pass


def use_memory(file: Any, context: Context) -> Any:
    return {"size": len(bytearray(2000 << 20))}, b""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"command": ["false"]}, "ended with status 1"),
        ({"command": ["/no/such/program"]}, "ended with status 12"),
        ({"command": ["sh", "-c", "sleep 1000"], "seconds": 1}, "more than 1 seconds"),
        ({"function": "test_targets.never_end", "seconds": 1}, "more than 1 seconds"),
        ({"function": "test_targets.use_memory", "memory_mb": 500}, "needs more memory"),
    ],
)
def test_failing_analysis_is_quarantined_and_the_others_go_on(
    register: Register, changes: dict[str, Any], reason: str
) -> None:
    register(**changes)
    send_series(1)
    run_jobs()
    assert not Run.objects.exists()
    assert Job.objects.get(kind="analysis").state == "done"
    job = Job.objects.get(kind=KIND)
    assert job.state == "quarantined"
    assert reason in job.reason


def test_late_image_queues_a_quarantined_series_again(register: Register) -> None:
    register(command=["sh", "-c", f"[ $(ls $1 | wc -l) = 2 ] && {COUNT}", "sh"])
    send_series(1)
    run_jobs()
    assert Job.objects.get(kind=KIND).state == "quarantined"
    send(instance()[1])
    run_jobs()
    assert current().figures == {"images": 2}


def test_two_analyses_with_one_gpu_slot_run_one_after_the_other(register: Register, settings: Any) -> None:
    register(gpu_slots=1)
    send_series(1)
    announce()
    make_due()
    from analysis.gpu import gpu_slots

    with gpu_slots(1):
        run_due()
        assert not Run.objects.exists()
    assert Job.objects.values_list("queue", "state", "attempts").get(kind=KIND) == ("gpu", "queued", 0)
    run_jobs()
    assert current().figures == {"images": 1}


def test_new_version_runs_again_at_low_priority_and_both_are_kept(register: Register) -> None:
    register()
    send_series(2)
    run_jobs()
    register(version="2", parameters={"threshold": 5})
    assert run_again(Study.objects.all(), "count", "person:test") == 1
    assert Job.objects.get(kind=KIND).priority < 0
    run_jobs()
    assert [(run.version, run.superseded) for run in Run.objects.order_by("pk")] == [("1", True), ("2", False)]
    assert query("SELECT actor FROM audit_event WHERE kind = 'run again'") == [("person:test",)]


def test_default_analysis_runs_again_and_the_earlier_result_is_kept(settings: Any) -> None:
    sent = send_series(2)
    run_jobs()
    assert run_again(Study.objects.all(), "default", "person:test") == 2
    run_jobs()
    for one in sent:
        assert Result.objects.filter(instance=one.instance_id).count() == 1
        assert Result.history.filter(instance=one.instance_id).count() == 2


def test_what_arrives_runs_before_what_runs_again() -> None:
    send_series(3)
    run_jobs()
    run_again(Study.objects.all(), "default", "person:test")
    new = send(instance()[1]).instance_id
    assert query("SELECT subject FROM jobs_job WHERE state = 'queued' ORDER BY priority DESC LIMIT 1") == [(new,)]


def test_command_runs_an_analysis_again(register: Register, capsys: pytest.CaptureFixture[str]) -> None:
    register()
    sent = send_series(2)
    call_command("analysis", "list")
    call_command("analysis", "run", "count", "--study", sent[0].header.study_uid)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["default\t2\tinstance\teverything", "count\t1\tseries\teverything", "1 jobs queued"]
    with pytest.raises(CommandError, match="nothing: not registered"):
        call_command("analysis", "run", "nothing", "--all")
    with pytest.raises(CommandError, match=r"not stored: 1\.2\.3\.4"):
        call_command("analysis", "run", "count", "--study", "1.2.3.4")


def test_erasing_a_study_deletes_its_runs_and_their_files(register: Register) -> None:
    register(function="test_targets.draw")
    send_series(1)
    run_jobs()
    ((file,),) = Run.objects.values_list("files")
    assert store().contains(file[0]["key"])
    erase_study(Study.objects.get(), "person:test", "test")
    assert [model.objects.count() for model in (Target, Run, Job)] == [0, 0, 0]
    assert not store().contains(file[0]["key"])


def draw(files: Any, context: Context) -> Output:
    return Output(pictures={"overview": Path(__file__).parent.parent.joinpath("design/cost.png").read_bytes()})


SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(st.permutations(list(range(12)) * 2), st.lists(st.sampled_from([announce, make_due, run_due]), max_size=24))
@hypothesis.settings(max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=SUPPRESSED)
def test_every_series_has_one_current_run_over_exactly_its_images(
    register: Register, arrivals: list[int], steps: list[Callable[[], Any]]
) -> None:
    """Shuffled, late and doubled arrivals, with the steps of the jobs anywhere between them."""
    register(function="test_targets.count_images")
    study = generate_uid()[:50]
    contents = [
        instance(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.{number % 4}", InstanceNumber=number)[1]
        for number in range(12)
    ]
    for number, step in itertools.zip_longest(arrivals, steps):
        send(contents[number])
        if step:
            step()
    run_jobs()
    assert Series.objects.filter(study__uid=study).count() == 4
    for series in Series.objects.all():
        run = Run.objects.get(target__scope_id=series.pk, superseded=False)
        assert set(run.inputs) == set(Instance.objects.filter(series=series).values_list("pk", flat=True))
        assert run.figures == {"images": 3}


def count_images(files: Any, context: Context) -> tuple[dict[str, Any], bytes]:
    return {"images": sum(1 for _ in files)}, b""
