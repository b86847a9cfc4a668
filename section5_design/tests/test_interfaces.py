"""Ways in: C-STORE and C-ECHO by DCMTK, DICOMweb by a client of its own, plain HTTP, a folder; one path behind them."""

import hashlib
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pydicom
import pytest
from pydicom.data import get_testdata_files

from system import SECTION, System, instance, needs, until


def test_an_echo_is_answered(system: System) -> None:
    echoscu = needs("echoscu", "dcmtk")
    subprocess.run([echoscu, "-aec", "SECTION5", "localhost", str(system.dicom)], check=True, capture_output=True)


@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_dcmtk_sends(system: System, tmp_path: Path, program: str) -> None:
    sender = needs(program, "dcmtk")
    uids = []
    for number in range(5):
        uid, content = instance()
        (tmp_path / f"{number}.dcm").write_bytes(content)
        uids.append(uid)
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    subprocess.run(
        [sender, "-aec", "SECTION5", "localhost", str(system.dicom), *files], check=True, capture_output=True
    )
    for uid in uids:
        assert system.wait_for(uid) == ("done", "")
        assert system.results_of(uid) == 1


def test_the_received_bytes_are_preserved(system: System) -> None:
    uid, content = instance()
    assert system.post(content).status == 200
    (sha256,) = system.query("SELECT sha256 FROM archive_instance WHERE sop_instance_uid = %s", uid)[0]
    assert sha256 == hashlib.sha256(content).hexdigest()


def test_a_dicomweb_client_stores(system: System) -> None:
    from dicomweb_client.api import DICOMwebClient

    made = [instance("MR_small.dcm") for _ in range(3)]
    client = DICOMwebClient(url=f"http://127.0.0.1:{system.http}/dicom-web")
    told = client.store_instances([pydicom.dcmread(pydicom.filebase.DicomBytesIO(content)) for _, content in made])
    assert {item.ReferencedSOPInstanceUID for item in told.ReferencedSOPSequence} == {uid for uid, _ in made}
    for uid, _ in made:
        assert system.wait_for(uid)[0] == "done"


def multipart(*contents: bytes) -> tuple[bytes, str]:
    parts = [b"--b\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n" for content in contents]
    return b"".join(parts) + b"--b--\r\n", 'multipart/related; type="application/dicom"; boundary=b'


NEXT = {"SOPInstanceUID": "1.2.3.4"}


def test_each_part_of_a_multipart_body_is_reported(system: System) -> None:
    uid, content = instance()
    body, kind = multipart(content, b"no DICOM at all", content[:5000], instance(SeriesInstanceUID="x", **NEXT)[1])
    answer = system.ask("POST", "/dicom-web/studies", body, Content_Type=kind, Accept="application/dicom+json")
    assert answer.status == 202
    document = answer.json()
    assert list(document) == sorted(document)
    (stored,) = document["00081199"]["Value"]
    assert stored["00081155"]["Value"] == [uid]
    study = document["00081190"]["Value"][0]
    assert stored["00081190"]["Value"][0].startswith(f"{study}/series/")
    other, short = (one["00080902"]["Value"][0] for one in document["0008119A"]["Value"])
    assert other == "not a DICOM file (no DICM prefix at byte 128)"
    assert re.fullmatch(r"is truncated: \d+ bytes are missing at its end", short)
    assert document["00081198"]["Value"] == [
        {
            "00080902": {"vr": "LO", "Value": ["invalid SeriesInstanceUID: not a UID"]},
            "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
            "00081155": {"vr": "UI", "Value": [NEXT["SOPInstanceUID"]]},
            "00081197": {"vr": "US", "Value": [0xC000]},
        }
    ]


def test_the_response_is_xml_if_requested(system: System) -> None:
    uid, content = instance()
    body, kind = multipart(content, b"no DICOM")
    answer = system.ask("POST", "/dicom-web/studies", body, Content_Type=kind, Accept="application/dicom+xml")
    root = ET.fromstring(answer.body)
    assert uid in [value.text for value in root.findall(".//{*}Value")]
    assert [node.get("tag") for node in root] == ["00081190", "00081199", "0008119A"]
    assert root.tag == "{http://dicom.nema.org/PS3.19/models/NativeDICOM}NativeDicomModel"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"x", "application/dicom", 409),
        (b"", "application/dicom", 400),
        (b"x", "text/plain", 415),
        (b"x", "multipart/form-data; boundary=b", 415),
        (b"x", "multipart/related", 400),
        (b"x", "multipart/related; boundary=" + "x" * 300, 400),
        (b"--b\r\n\r\n{}\r\n--b--\r\n", 'multipart/related; type="application/dicom+json"; boundary=b', 415),
        (b"--b\r\nContent-Type: application/dicom+xml\r\n\r\n<a/>\r\n--b--\r\n", "multipart/related; boundary=b", 409),
        (b"x", "multipart/related; boundary=b", 400),
        (b"--b\r\nContent-Type: application/dicom\r\n\r\nabc", "multipart/related; boundary=b", 400),
        (b"--b--\r\n", "multipart/related; boundary=b", 400),
    ],
)
def test_an_invalid_body_is_refused_and_leaves_nothing(system: System, body: bytes, kind: str, status: int) -> None:
    before = system.query("SELECT count(*) FROM archive_instance")
    assert system.ask("POST", "/dicom-web/studies", body, Content_Type=kind).status == status
    assert system.query("SELECT count(*) FROM archive_instance") == before
    until(lambda: not system.spooled())


def test_the_study_in_the_url_must_match_the_instance(system: System) -> None:
    uid, content = instance()
    study = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content)).StudyInstanceUID
    answer = system.ask("POST", "/dicom-web/studies/1.2.3", content, Content_Type="application/dicom")
    assert answer.status == 409
    assert answer.json()["00081198"]["Value"][0]["00081155"]["Value"] == [uid]
    assert system.state_of(uid) == ("", "")
    assert system.ask("POST", f"/dicom-web/studies/{study}", content, Content_Type="application/dicom").status == 200


def test_a_duplicate_is_acknowledged_and_stored_once(system: System) -> None:
    uid, content = instance()
    assert [system.post(content).status for _ in range(3)] == [200] * 3
    system.wait_for(uid)
    assert system.query("SELECT count(*) FROM archive_instance WHERE sop_instance_uid = %s", uid) == [(1,)]
    assert system.results_of(uid) == 1


def test_a_uid_conflict_keeps_and_reports_both(system: System) -> None:
    uid, content = instance()
    _, other = instance(SOPInstanceUID=uid, PatientID="another")
    assert system.post(content).status == system.post(other).status == 200
    kept = system.query("SELECT conflict FROM archive_instance WHERE sop_instance_uid = %s", uid)
    assert kept == [(True,), (True,)]
    until(lambda: system.results_of(uid) == 2)


@pytest.mark.parametrize("contents", [1, 4])
def test_sixteen_simultaneous_senders_of_one_uid(system: System, contents: int) -> None:
    uid, _ = instance()
    made = [instance(SOPInstanceUID=uid, PatientID=str(number))[1] for number in range(contents)]
    barrier = threading.Barrier(16)

    def send(number: int) -> int:
        barrier.wait()
        return system.post(made[number % contents]).status

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(send, range(16))) == [200] * 16
    kept = system.query("SELECT conflict FROM archive_instance WHERE sop_instance_uid = %s", uid)
    assert kept == [(contents > 1,)] * contents
    until(lambda: system.results_of(uid) == contents)


def test_a_folder_is_ingested_twice_without_duplicates(system: System, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "deep" / "er" / f"{number}").write_bytes(instance()[1])
    (tmp_path / "notes.txt").write_text("no DICOM")
    command = [sys.executable, str(SECTION / "main.py"), "ingest", str(tmp_path)]
    first, again = (
        subprocess.run(command, env=system.environment, capture_output=True, text=True, check=False) for _ in range(2)
    )
    assert first.stdout == "3 new, 0 duplicate, 0 conflict, 1 refused\n"
    assert again.stdout == "0 new, 3 duplicate, 0 conflict, 1 refused\n"
    assert first.returncode == 1
    assert "notes.txt: not a DICOM file" in first.stderr


def wheel() -> list[Path]:
    """Every file in pydicom's wheel."""
    return sorted(Path(name) for name in get_testdata_files() if Path(name).is_file())


def reason_of(document: Any) -> str:
    """The reason of the first failure in a response."""
    (failures,) = (document[tag]["Value"] for tag in ("00081198", "0008119A") if tag in document)
    return str(failures[0]["00080902"]["Value"][0])


def test_every_file_of_pydicom_s_wheel_has_a_result_or_a_reason(system: System) -> None:
    files = [path for path in wheel() if path.stat().st_size < 20_000_000]
    told = {path.name: system.post(path.read_bytes()) for path in files}
    reasons = {name: reason_of(answer.json()) for name, answer in told.items() if answer.status != 200}
    assert all(answer.status in (200, 409) for answer in told.values())
    assert all(reasons.values())
    taken = [name for name, answer in told.items() if answer.status == 200]
    assert len(taken) > 60
    system.settle()
    assert all(reason for _, reason in system.query("SELECT id, reason FROM analysis_job WHERE state = 'quarantined'"))
    system.ledger()
