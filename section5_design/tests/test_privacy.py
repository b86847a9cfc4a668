"""Patients' data: in no log and no metric, out of what is de-identified, gone when it is erased."""

import base64
import io
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.conf import settings as django_settings
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from analysis.contract import UnprocessableError
from analysis.deidentification import deidentify
from people import Person, make_people
from system import OVER_HTTP, SECTION, System, database, free_port, instance, needs, until
from test_uploads import archive, tus

MARKS = ("Zqxname", "Zqxid", "Zqxref", "Zqxdesc", "19331231", "Zqxfile")
PATIENT = {"PatientName": "Zqxname^Ana", "PatientID": "Zqxid7", "ReferringPhysicianName": "Zqxref^B"}
PATIENT |= {"StudyDescription": "Zqxdesc", "PatientBirthDate": "19331231"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with database(f"privacy_{os.getpid()}") as url:
        folder = tmp_path_factory.mktemp("privacy")
        with System(folder, url, PYTHONPATH=str(SECTION)) as running:
            make_people(running, {"ana": ["submitters"], "op": ["operators"]})
            yield running


def manage(system: System, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SECTION / "manage.py"), *words]
    return subprocess.run(command, env=system.environment | environment, capture_output=True, text=True, check=False)


def test_no_log_or_metric_contains_patient_data(system: System, tmp_path: Path) -> None:
    ports = {}
    for name in ("web", "receiver", "worker", "maintenance"):
        system.kill(name)
        ports[name] = free_port()
        system.start(name, "--health-port", str(ports[name]))
    ana, operator = Person(system), Person(system)
    until(lambda: answers(system))
    ana, operator = Person(system, "ana"), Person(system, "op")
    good, short, broken = instance(**PATIENT), instance(**PATIENT), instance(Rows=0, **PATIENT)
    no_uid = instance(StudyInstanceUID="", **PATIENT)
    contents = [good[1], short[1][:-500], broken[1], no_uid[1], b"Zqxname" * 100, good[1][:200] + b"\xff" * 300]
    for content in contents:
        ana.send(content)
        system.post(content)
    tus(ana, archive(Zqxfile=instance(**PATIENT)[1], Zqxname_text=b"Zqxname"), "study.zip", 1 << 20)
    folder = tmp_path / "incoming"
    folder.mkdir()
    for number, content in enumerate(contents):
        (folder / f"{number}.dcm").write_bytes(content)
    store = [needs("storescu", "dcmtk"), "-aec", "SECTION5", "localhost", str(system.dicom)]
    for path in sorted(folder.iterdir()):
        subprocess.run([*store, str(path)], capture_output=True, check=False)
    taken = subprocess.run(
        [sys.executable, str(SECTION / "main.py"), "ingest", str(folder)],
        env=system.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    system.settle()
    until(lambda: system.state_of(broken[0])[0] == "quarantined")
    for address in (
        "/?patient=Zqxname",
        "/?patient=Zqxid7",
        "/studies/1/",
        "/images/1/",
        "/audit/",
        "/nowhere/Zqxname",
    ):
        for person in (ana, operator):
            person.get(address)
    Person(system, "Zqxname", "Zqxid7")
    metrics = ""
    for port in ports.values():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            metrics += answer.read().decode()
    log = (system.folder / "log").read_text() + taken.stderr + taken.stdout
    events = str(system.query("SELECT * FROM audit_event"))
    attempts = str(system.query("SELECT reason FROM jobs_attempt UNION SELECT reason FROM analysis_job"))
    messages = manage(system, "audit", "export").stdout
    assert "dicom_received_total" in metrics
    assert "is truncated" in log
    for text in (log, metrics, events, attempts, messages):
        assert [mark for mark in MARKS if mark in text] == []


def answers(system: System) -> bool:
    try:
        return system.ask("GET", "/live").status == 200
    except OSError:
        return False


@pytest.fixture
def secret(settings: type[django_settings]) -> None:
    settings.UID_SECRET = "a secret"


def clean(content: bytes) -> Dataset:
    return pydicom.dcmread(deidentify(io.BytesIO(content)))


@pytest.mark.usefixtures("secret")
def test_identifying_attributes_are_removed_on_every_level() -> None:
    item = Dataset()
    item.PatientName, item.ReferencedSOPInstanceUID, item.PersonName = "Zqxname^In", "1.2.3.4", "Zqxref"
    item.add_new((0x0009, 0x0010), "LO", "Zqxid")
    uid, content = instance(
        RequestAttributesSequence=Sequence([item]), ReferencedImageSequence=Sequence([item]), **PATIENT
    )
    after = clean(content)
    target = io.BytesIO()
    after.save_as(target)
    assert [mark for mark in MARKS if mark.encode() in target.getvalue()] == []
    assert uid.encode() not in target.getvalue()
    assert b"1.2.3.4\0" not in target.getvalue()
    assert (after.PatientIdentityRemoved, after.DeidentificationMethodCodeSequence[0].CodeValue) == ("YES", "113100")
    assert after.pixel_array.mean() == pydicom.dcmread(io.BytesIO(content)).pixel_array.mean()


@pytest.mark.usefixtures("secret")
def test_pseudonyms_are_stable_and_depend_on_the_secret(settings: type[django_settings]) -> None:
    one, two = (clean(instance(**PATIENT)[1]) for _ in range(2))
    assert one.StudyInstanceUID == two.StudyInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID == two.file_meta.MediaStorageSOPInstanceUID
    assert one.PatientID == two.PatientID != "Zqxid7"
    assert one.StudyInstanceUID.startswith("2.25.")
    assert one.StudyInstanceUID.is_valid
    assert one.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    settings.UID_SECRET = "another"
    assert clean(instance(**PATIENT)[1]).StudyInstanceUID != one.StudyInstanceUID


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "JPEG2000.dcm",
        "reportsi.dcm",
        "rtplan.dcm",
        "rtdose.dcm",
        "liver_1frame.dcm",
        "waveform_ecg.dcm",
    ],
)
def test_files_of_all_kinds_are_de_identified(name: str) -> None:
    before = pydicom.dcmread(str(get_testdata_file(name, download=False)))
    with Path(str(get_testdata_file(name, download=False))).open("rb") as file:
        after = pydicom.dcmread(deidentify(file))
    assert after.get("PatientName", "") != before.PatientName or not before.PatientName
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert after.get("PixelData") == before.get("PixelData")


@pytest.mark.usefixtures("secret")
def test_burned_in_text_is_refused() -> None:
    with pytest.raises(UnprocessableError, match="has burned-in text"):
        clean(instance(BurnedInAnnotation="YES")[1])


TELL = "import pydicom\ndef analyse(file, context):\n    d = pydicom.dcmread(file)\n"
TELL += "    return {'name': str(d.get('PatientName')), 'removed': d.get('PatientIdentityRemoved')}, b''\n"


def test_an_analysis_gets_de_identified_files_if_configured(tmp_path: Path) -> None:
    (tmp_path / "tell.py").write_text(TELL)
    settings = {"DEIDENTIFY": "1", "UID_SECRET": "s", "ANALYSIS": "tell.analyse", "PYTHONPATH": str(tmp_path)}
    (tmp_path / "system").mkdir()
    with (
        database(f"deid_{os.getpid()}") as url,
        System(tmp_path / "system", url, OVER_HTTP, **settings) as system,
    ):
        uid, content = instance(**PATIENT)
        system.post(content)
        assert system.wait_for(uid) == ("done", "")
        ((figures,),) = system.query("SELECT figures FROM analysis_result")
        assert "Zqx" not in str(figures)
        assert figures["removed"] == "YES"


def stored(system: System, person: Person, **changes: Any) -> tuple[str, str]:
    uid, content = instance(**changes)
    person.send(content)
    system.wait_for(uid)
    ((sha256,),) = system.query("SELECT sha256 FROM archive_instance WHERE sop_instance_uid = %s", uid)
    return uid, sha256


def test_the_erasure_of_a_patient_is_recorded(system: System) -> None:
    ana = Person(system, "ana")
    study = "1.2.826.0.1.7"
    kept, kept_hash = stored(system, ana, PatientID="other", StudyInstanceUID="1.2.826.0.1.8")
    gone, gone_hash = stored(system, ana, PatientID="Erase me", StudyInstanceUID=study)
    before = system.query("SELECT count(*) FROM audit_event")
    counted = manage(system, "erase", "--patient-id", "Erase me")
    assert counted.stdout == "1 studies with 1 images would be erased; run it again with --yes\n"
    assert system.results_of(gone) == 1
    done = manage(system, "erase", "--patient-id", "Erase me", "--yes")
    assert (done.stdout, done.returncode) == ("1 studies with 1 images erased\n", 0)
    assert (system.state_of(gone), system.results_of(gone)) == (("", ""), 0)
    for table, column in (("archive_study", "patient_id"), ("uploads_uploadfile", "name")):
        assert "Erase me" not in str(system.query(f"SELECT {column} FROM {table}"))
    objects = {path.name for path in (system.folder / "store" / "objects").rglob("*")}
    assert gone_hash not in objects
    assert kept_hash in objects
    assert system.results_of(kept) == 1
    told = system.query("SELECT study_uid, detail FROM audit_event WHERE kind = 'erased' ORDER BY id DESC LIMIT 1")
    assert told == [(study, "1 images; erased for the patient")]
    assert system.query("SELECT count(*) FROM audit_event") > before
    until(lambda: manage(system, "audit", "verify").returncode == 0)
    assert manage(system, "verify", "--counts").returncode == 0


def test_studies_past_their_retention_are_erased(system: System) -> None:
    ana = Person(system, "ana")
    old, _ = stored(system, ana, StudyInstanceUID="1.2.826.0.1.9")
    young, _ = stored(system, ana, StudyInstanceUID="1.2.826.0.1.10")
    system.query("UPDATE archive_study SET created_at = now() - interval '400 days' WHERE uid = '1.2.826.0.1.9'")
    system.query(
        "UPDATE archive_instance SET received_at = now() - interval '400 days' WHERE sop_instance_uid = %s", old
    )
    assert manage(system, "erase", "--older-than", "365", "--yes").returncode == 0
    assert system.state_of(old) == ("", "")
    assert system.results_of(young) == 1
    assert manage(system, "erase", "--older-than", "0").returncode == 1


def test_uploads_over_the_daily_quota_are_refused(tmp_path: Path) -> None:
    with (
        database(f"limit_{os.getpid()}") as url,
        System(tmp_path, url, ("web",), UPLOAD_QUOTA_GB="0") as system,
    ):
        make_people(system, {"ana": ["submitters"]})
        ana = Person(system, "ana")
        page = ana.get(ana.send(instance()[1]).headers["Location"]).text
        assert "one person may send 0 GB in 24 hours" in page
        headers = ana.headers() | {"Tus-Resumable": "1.0.0", "Upload-Length": "10"}
        headers["Upload-Metadata"] = "filename " + base64.b64encode(b"f").decode()
        assert ana.session.post(f"{ana.base}/files/", headers=headers, timeout=30).status_code == 413
        assert system.query("SELECT count(*) FROM archive_instance") == [(0,)]
