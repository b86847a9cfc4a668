"""Priors: which earlier studies are fetched from Orthanc, or an archive that refuses, and when nothing is."""

import contextlib
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as Move

from archive.erasure import erase_study
from archive.models import Series, Study
from delivery import dicom
from jobs.models import Job
from orthanc import Orthanc
from pipeline import announce, make_due, run_due, run_jobs, send
from priors.models import Archive, Prior, Rule, Search
from priors.services import save_archive, save_rule
from system import SECTION, System, database, free_port, instance, until

# pynetdicom leaves the socket of a refused connection to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
OLD = {"2.1": "20200101", "2.2": "20210101", "2.3": "20220101", "2.4": "20300101"}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Orthanc]]:
    """The system, and Orthanc with four studies of the patient P, one of them later than those that arrive."""
    folder = tmp_path_factory.mktemp("priors")
    with database(f"priors_{os.getpid()}") as url, System(folder, url) as running:
        here = {"section5": ["SECTION5", "127.0.0.1", running.dicom]}
        with Orthanc(folder / "pacs", DicomModalities=here) as orthanc:
            for uid, date in OLD.items():
                for _ in range(2):
                    upload(orthanc, study(uid, date))
            manage(running, "archive", "pacs", "--dicom", "ORTHANC", "127.0.0.1", str(orthanc.dicom))
            manage(running, "rule", "pacs", "--modality", "CT", "--newest", "2", "--same-modality")
            yield running, orthanc


def study(uid: str, date: str, **changes: Any) -> bytes:
    """An image of a study of the patient P."""
    place = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "StudyDate": date, "PatientID": "P"}
    return instance(**place | changes)[1]


def upload(orthanc: Orthanc, content: bytes) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", orthanc.http, timeout=60)) as client:
        client.request("POST", "/instances", content)
        assert client.getresponse().status == 200


def manage(system: System, *arguments: str) -> None:
    command = [sys.executable, str(SECTION / "manage.py"), "priors", *arguments]
    subprocess.run(command, env=system.environment, check=True, capture_output=True)


def searches(system: System, uid: str) -> list[tuple[str, int]]:
    """State and number of priors of the searches for a study."""
    return system.query(
        "SELECT state, found FROM priors_search AS s JOIN archive_study AS a ON a.id = s.study_id"
        " JOIN jobs_job AS j ON j.subject = s.id AND j.kind = 'prior search' WHERE uid = %s",
        uid,
    )


def fetched(system: System) -> dict[str, int]:
    """The number of images of each study that came from the archive."""
    counted = system.query(
        "SELECT t.uid, count(*) FROM archive_instance AS i JOIN archive_series AS s ON s.id = i.series_id"
        " JOIN archive_study AS t ON t.id = s.study_id WHERE source = 'dicom:ORTHANC' GROUP BY t.uid"
    )
    return dict(counted)


def test_the_newest_priors_of_an_arriving_study_are_fetched(hospital: tuple[System, Orthanc]) -> None:
    system, _ = hospital
    assert system.post(study("2.9", "20250101")).status == 200
    until(lambda: fetched(system) == {"2.3": 2, "2.2": 2})
    assert searches(system, "2.9") == [("done", 2)]
    until(lambda: system.query("SELECT count(*) FROM archive_arrival") == [(0,)])
    assert searches(system, "2.3") == searches(system, "2.2") == []  # no priors of priors
    fetches = "SELECT count(*) FROM priors_prior WHERE images = 2 AND fetched_at IS NOT NULL"
    until(lambda: system.query(fetches) == [(2,)])
    assert system.post(study("2.9", "20250101")).status == 200  # another image of the same study
    assert system.post(study("2.8", "20250102")).status == 200  # another study: its priors are here
    until(lambda: searches(system, "2.8") == [("done", 0)])
    assert len(searches(system, "2.9")) == 1


def test_nothing_is_fetched_for_an_unknown_patient(hospital: tuple[System, Orthanc]) -> None:
    system, _ = hospital
    for number, patient in enumerate(("nobody", "*", "")):
        assert system.post(study(f"3.{number}", "20250101", PatientID=patient)).status == 200
    until(lambda: searches(system, "3.0") == searches(system, "3.1") == [("done", 0)])
    until(lambda: system.query("SELECT count(*) FROM archive_arrival") == [(0,)])
    assert searches(system, "3.2") == []


def test_priors_are_fetched_when_the_archive_is_up_again(hospital: tuple[System, Orthanc]) -> None:
    system, orthanc = hospital
    upload(orthanc, study("4.1", "20200101", PatientID="Q"))
    orthanc.kill()
    assert system.post(study("4.9", "20250101", PatientID="Q")).status == 200
    job = "SELECT state, reason FROM jobs_job WHERE kind = 'prior search' AND reason <> ''"
    until(lambda: system.query(job) == [("queued", "pacs cannot be reached, or does not answer")])
    orthanc.start()
    system.query("UPDATE jobs_job SET next_run_at = now() WHERE kind = 'prior search' RETURNING id")
    until(lambda: fetched(system).get("4.1") == 1)


@pytest.fixture
def archive_of(local_store: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register an archive at a port, with a rule."""
    monkeypatch.setattr(dicom, "ANSWER_SECONDS", 2)
    monkeypatch.setattr(dicom, "CONNECT_SECONDS", 2)

    def register(port: int, **rule: Any) -> Archive:
        archive = Archive(name="pacs", title="PACS", host="127.0.0.1", port=port)
        save_archive(archive, "person:test")
        save_rule(Rule(archive=archive, **rule), "person:test")
        return archive

    return register


@contextmanager
def archive_scp(found: list[dict[str, Any]], find_status: int = 0, move_status: int = 0) -> Iterator[int]:
    """An archive that answers each C-FIND with these studies and a status, and each C-MOVE with a status."""

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for values in found:
            row = Dataset()
            for keyword, value in values.items():
                setattr(row, keyword, value)
            yield 0xFF00, row
        if find_status:
            yield find_status, None

    def move(event: evt.Event) -> Iterator[Any]:
        yield None, None  # an unknown destination
        if move_status:
            yield move_status, None

    ae = AE("PACS")
    ae.add_supported_context(Find)
    ae.add_supported_context(Move)
    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_MOVE, move)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server
    yield server.socket.getsockname()[1]
    server.shutdown()


def row(uid: str, date: str = "20200101", **values: Any) -> dict[str, Any]:
    return {"PatientID": "P", "StudyInstanceUID": uid, "StudyDate": date} | values


def attempt() -> None:
    """Announce what was stored, and run each job at most once."""
    announce()
    make_due()
    run_due()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("rule", "found", "expected"),
    [
        ({}, [row("5.1"), row("5.2", "20240101"), row("5.3", "20230101"), row("5.4", "19990101")], "5.2 5.3 5.1"),
        ({"newest": 1}, [row("5.1"), row("5.2", "20240101")], "5.2"),
        ({}, [row("5.9"), row("5.1", "20260101"), row("5.2", "20250101", StudyTime="235959")], ""),
        ({}, [row("5.1", "20250101", StudyTime="010000"), row("5.2", "")], "5.1 5.2"),
        (
            {"same_modality": True},
            [row("5.1", ModalitiesInStudy=["MR", "CT"]), row("5.2", ModalitiesInStudy="MR")],
            "5.1",
        ),
        ({"same_modality": True}, [row("5.1")], "5.1"),
        ({}, [row("5.1", PatientID="P2"), row("5.2", PatientBirthDate="19010101")], ""),
        ({"modality": "MR"}, [row("5.1")], None),
    ],
)
def test_a_rule_chooses_priors(archive_of: Any, rule: dict[str, Any], found: list[Any], expected: str | None) -> None:
    with archive_scp(found) as port:
        archive_of(port, **rule)
        send(study("5.9", "20250101", StudyTime="120000", PatientBirthDate="19500101"))
        attempt()
    assert [one.found for one in Search.objects.all()] == ([] if expected is None else [len(expected.split())])
    assert set(Prior.objects.values_list("study_uid", flat=True)) == set((expected or "").split())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("statuses", "kind", "state", "reason"),
    [
        ((0xA900, 0), "prior search", "quarantined", "pacs refused the request (status A900)"),
        ((0xA700, 0), "prior search", "queued", "pacs could not send everything (status A700)"),
        ((0, 0), "prior fetch", "quarantined", "pacs does not know SECTION5 as a destination of C-MOVE"),
    ],
)
def test_answers_of_an_archive_are_retried_or_quarantined(
    archive_of: Any, statuses: tuple[int, int], kind: str, state: str, reason: str
) -> None:
    with archive_scp([row("5.1")], *statuses) as port:
        archive_of(port)
        send(study("5.9", "20250101"))
        attempt()
        attempt()
    job = Job.objects.get(kind=kind)
    assert (job.state, job.reason) == (state, reason)


@pytest.mark.django_db(transaction=True)
def test_erasing_a_study_deletes_its_searches_and_its_fetch(archive_of: Any) -> None:
    archive = archive_of(free_port())
    send(study("5.9", "20250101"))
    announce()
    Prior.objects.create(archive=archive, study_uid="5.9")
    assert Search.objects.count() == 1
    erase_study(Study.objects.get(), "person:test", "test")
    assert [model.objects.count() for model in (Search, Prior, Job, Series)] == [0, 0, 0, 0]


@pytest.mark.django_db(transaction=True)
def test_commands_set_archives_and_rules(archive_of: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port = str(free_port())
    send(study("5.9", "20250101"))
    run_jobs()
    call_command("priors", "archive", "pacs", "--dicom", "PACS", "127.0.0.1", port)
    call_command("priors", "rule", "pacs", "--modality", "CT", "--same-modality")
    call_command("priors", "search", "5.9")
    rule = Rule.objects.get()
    capsys.readouterr()
    call_command("priors", "list")
    text = "CT studies: 3 newest priors of the same modality <- pacs"
    expected = [f"pacs\tPACS@127.0.0.1:{port}", f"rule {rule.pk}\t{text}", "search\t5.9 <- pacs\tqueued"]
    assert capsys.readouterr().out.splitlines() == expected
    call_command("priors", "remove", "pacs")
    assert [model.objects.count() for model in (Archive, Rule, Search)] == [0, 0, 0]
    for arguments, message in (
        (["rule", "nowhere"], "no archive 'nowhere'"),
        (["search", "1.2"], r"not stored: 1\.2"),
        (["archive", "pacs", "--dicom", "PACS", "host", "x"], "integer"),
        (["remove", "99"], "no rule 99"),
    ):
        with pytest.raises(CommandError, match=message):
            call_command("priors", *arguments)


@pytest.mark.django_db
@pytest.mark.parametrize("newest", [0, 101])
def test_a_rule_fetches_a_bounded_number_of_priors(newest: int) -> None:
    archive = Archive.objects.create(name="pacs", title="PACS", host="127.0.0.1", port=104)
    with pytest.raises(ValidationError):
        save_rule(Rule(archive=archive, newest=newest), "person:test")
