"""C-FIND, C-MOVE and C-GET, as DCMTK and pynetdicom ask for them."""

import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from accounts.application_entities import CACHE_SECONDS
from orthanc import DICOMWEB, Orthanc
from system import SECTION, System, database, free_port, instance, needs, until

PLACES = [("1.9.1", "1.9.1.1", "P1", 3), ("1.9.1", "1.9.1.2", "P1", 1), ("1.9.2", "1.9.2.1", "P2", 2)]
JPEG_2000, EXPLICIT = "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.1"


def ae_add(system: System, *words: str) -> None:
    command = [sys.executable, str(SECTION / "manage.py"), "ae", "add", *words]
    subprocess.run(command, env=system.environment, check=True, capture_output=True)
    added = int(time.monotonic() / CACHE_SECONDS)
    until(lambda: int(time.monotonic() / CACHE_SECONDS) > added)  # then every process rereads the entities


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Two patients: a study with series of three and one images, a study with two, and a compressed image."""
    with database(f"dimse_{os.getpid()}") as url, System(tmp_path_factory.mktemp("system"), url) as running:
        for study, series, patient, count in PLACES:
            for number in range(1, count + 1):
                values: dict[str, Any] = {
                    "PatientID": patient,
                    "PatientName": f"Doe^{patient}",
                    "StudyDate": "20200131",
                }
                place: dict[str, Any] = {
                    "StudyInstanceUID": study,
                    "SeriesInstanceUID": series,
                    "InstanceNumber": number,
                }
                assert running.post(instance(**values, **place)[1]).status == 200
        place = {"StudyInstanceUID": "1.9.3", "SeriesInstanceUID": "1.9.3.1", "SOPInstanceUID": "1.9.3.1.1"}
        assert running.post(instance("JPEG2000.dcm", **place, PatientID="P3")[1]).status == 200
        yield running


def dcmtk(archive: System, program: str, *words: str, folder: Path | None = None) -> str:
    """Run one of DCMTK's tools, and return what it says."""
    ends = ["-aec", "SECTION5", "127.0.0.1", str(archive.dicom)]
    command = [needs(program, "dcmtk"), "-v", *words, *ends]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, timeout=120)
    return done.stdout + done.stderr


def identifier(level: str, **keys: Any) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some keys are not values
        for keyword, value in keys.items():
            setattr(dataset, keyword, value)
    return dataset


def find(archive: System, level: str, model: Any = StudyRootQueryRetrieveInformationModelFind, **keys: Any) -> Any:
    """The statuses and the identifiers of the responses."""
    ae = AE()
    ae.add_requested_context(model)
    association = ae.associate("127.0.0.1", archive.dicom, ae_title="SECTION5")
    assert association.is_established
    responses = list(association.send_c_find(identifier(level, **keys), model))
    association.release()
    return [status.Status for status, _ in responses], [found for _, found in responses if found is not None]


@pytest.mark.parametrize(
    ("level", "keys", "count"),
    [
        ("STUDY", {"PatientName": "", "StudyInstanceUID": ""}, 3),
        ("STUDY", {"PatientName": "doe*", "StudyInstanceUID": ""}, 2),
        ("STUDY", {"StudyDate": "20200101-20201231"}, 2),
        ("STUDY", {"StudyInstanceUID": ["1.9.1", "1.9.3"]}, 2),
        ("STUDY", {"ModalitiesInStudy": "CT"}, 2),
        ("STUDY", {"PatientID": "nobody"}, 0),
        ("SERIES", {"StudyInstanceUID": "1.9.1", "SeriesInstanceUID": "", "Modality": ""}, 2),
        ("IMAGE", {"StudyInstanceUID": "1.9.1", "SeriesInstanceUID": "1.9.1.1", "SOPInstanceUID": ""}, 3),
    ],
)
def test_study_root_finds(archive: System, level: str, keys: dict[str, Any], count: int) -> None:
    statuses, found = find(archive, level, **keys)
    assert statuses == [0xFF00] * count + [0]
    assert all(one.QueryRetrieveLevel == level and one.RetrieveAETitle == "SECTION5" for one in found)
    for keyword in keys:
        assert all(keyword in one for one in found)


def test_counts_are_returned_where_they_are_asked_for(archive: System) -> None:
    keys = {"StudyInstanceUID": "1.9.1", "NumberOfStudyRelatedSeries": None, "NumberOfStudyRelatedInstances": None}
    _, (found,) = find(archive, "STUDY", **keys, ModalitiesInStudy="")
    assert (found.NumberOfStudyRelatedSeries, found.NumberOfStudyRelatedInstances) == (2, 4)
    assert found.ModalitiesInStudy == "CT"
    assert "PatientName" not in found


def test_items_of_a_sequence_are_matched_and_returned(archive: System) -> None:
    request = Dataset()
    request.ScheduledProcedureStepID, request.RequestedProcedureID = "S1", "R1"
    place: dict[str, Any] = {
        "StudyInstanceUID": "1.9.4",
        "SeriesInstanceUID": "1.9.4.1",
        "RequestAttributesSequence": [request],
    }
    assert archive.post(instance(**place, PatientID="R4")[1]).status == 200
    for step, count in (("S*", 1), ("S2", 0), ("", 1)):
        key = Dataset()
        key.ScheduledProcedureStepID = step
        statuses, found = find(archive, "SERIES", StudyInstanceUID="1.9.4", RequestAttributesSequence=[key])
        assert statuses == [0xFF00] * count + [0]
        assert [one.RequestAttributesSequence[0].RequestedProcedureID for one in found] == ["R1"] * count


def test_patient_root_finds_patients(archive: System) -> None:
    model = PatientRootQueryRetrieveInformationModelFind
    _, found = find(archive, "PATIENT", model, PatientID="P*", PatientName="")
    assert [one.PatientID for one in found] == ["P1", "P2", "P3"]
    _, found = find(archive, "STUDY", model, PatientID="P1", StudyInstanceUID="")
    assert [one.StudyInstanceUID for one in found] == ["1.9.1"]


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        ("PATIENT", {"PatientID": ""}),
        ("FRAME", {}),
        ("", {"PatientID": "P1"}),
        ("STUDY", {"StudyDate": "20210101-20200101"}),
        ("STUDY", {"StudyInstanceUID": "1.9.*"}),
    ],
)
def test_an_identifier_that_does_not_fit_is_refused(archive: System, level: str, keys: dict[str, Any]) -> None:
    assert find(archive, level, **keys)[0] == [0xA900]


def test_keys_that_are_not_stored_are_reported_as_unsupported(archive: System) -> None:
    statuses, _ = find(archive, "STUDY", StudyInstanceUID="1.9.1", InstitutionName="x")
    assert statuses == [0xFF01, 0]


def test_findscu_finds(archive: System) -> None:
    keys = ("QueryRetrieveLevel=STUDY", "PatientID=P2", "StudyInstanceUID")
    said = dcmtk(archive, "findscu", "-S", *(word for key in keys for word in ("-k", key)))
    assert "1.9.2" in said
    assert "1.9.1" not in said


def test_a_find_is_cancelled(archive: System) -> None:
    for number in range(200):
        place = {"StudyInstanceUID": f"1.10.{number}", "SeriesInstanceUID": f"1.10.{number}.1"}
        assert archive.post(instance(**place, PatientID="many")[1]).status == 200
    ae = AE()
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = ae.associate("127.0.0.1", archive.dicom)
    query = identifier("STUDY", PatientID="many", StudyInstanceUID="")
    responses = association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind, msg_id=7)
    statuses = [next(responses)[0].Status]
    association.send_c_cancel(7, query_model=StudyRootQueryRetrieveInformationModelFind)
    statuses += [status.Status for status, _ in responses]
    association.release()
    assert statuses[-1] in (0xFE00, 0)  # the cancellation may come after the last response
    assert find(archive, "STUDY", PatientID="P1")[0] == [0xFF00, 0]


class Destination:
    """An application entity that stores."""

    def __init__(self, *syntaxes: str, status: int = 0) -> None:
        self.received: dict[str, Dataset] = {}
        self.originators: set[tuple[str, int]] = set()
        self._status = status
        ae = AE("DEST")
        ae.add_supported_context(CTImageStorage, list(syntaxes) or None)
        ae.add_supported_context("1.2.840.10008.5.1.4.1.1.7", list(syntaxes) or None)
        ae.add_supported_context("1.2.840.10008.5.1.4.1.1.4", list(syntaxes) or None)
        self.port = free_port()
        handlers = [(evt.EVT_C_STORE, self._store)]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def _store(self, event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.received[dataset.SOPInstanceUID] = dataset
        request = event.request
        self.originators.add((request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID))
        return self._status

    def __enter__(self) -> "Destination":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


def move(archive: System, destination: str, level: str, calling: str = "DEST", **keys: Any) -> list[Dataset]:
    """The statuses of the responses."""
    ae = AE(calling)
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
    association = ae.associate("127.0.0.1", archive.dicom)
    assert association.is_established
    model = StudyRootQueryRetrieveInformationModelMove
    responses = [status for status, _ in association.send_c_move(identifier(level, **keys), destination, model)]
    association.release()
    return responses


@pytest.fixture(scope="module")
def known(archive: System) -> Iterator[Destination]:
    """A destination that may read everything."""
    with Destination() as destination:
        ae_add(archive, "DEST", "127.0.0.1", "--port", str(destination.port), "--group", "operators")
        until(lambda: find_as(archive, "DEST") == 3)
        yield destination


def find_as(archive: System, title: str) -> int:
    ae = AE(title)
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = ae.associate("127.0.0.1", archive.dicom)
    if not association.is_established:
        return -1
    query = identifier("STUDY", PatientID="P*", StudyInstanceUID="")
    responses = list(association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind))
    association.release()
    return sum(found is not None for _, found in responses)


def test_a_study_is_moved_to_a_known_entity(archive: System, known: Destination) -> None:
    responses = move(archive, "DEST", "STUDY", StudyInstanceUID="1.9.1")
    assert [one.Status for one in responses] == [0xFF00] * 4 + [0]
    last = responses[-1]
    assert (last.NumberOfCompletedSuboperations, last.NumberOfFailedSuboperations) == (4, 0)
    uids = archive.query(
        "SELECT sop_instance_uid FROM archive_instance i JOIN archive_series s ON s.id = series_id"
        " JOIN archive_study t ON t.id = s.study_id WHERE t.uid = '1.9.1'"
    )
    assert {(uid,) for uid in known.received} == set(uids)
    assert {title for title, _ in known.originators} == {"DEST"}
    events = archive.query("SELECT actor, detail, study_uid FROM audit_event WHERE kind = 'retrieved'")
    assert events == [("dicom:DEST", "4 instances to DEST", "1.9.1")]


def test_images_and_series_are_moved(archive: System, known: Destination) -> None:
    assert move(archive, "DEST", "SERIES", StudyInstanceUID="1.9.1", SeriesInstanceUID="1.9.1.1")[-1].Status == 0
    keys = {"StudyInstanceUID": "1.9.3", "SeriesInstanceUID": "1.9.3.1", "SOPInstanceUID": "1.9.3.1.1"}
    assert move(archive, "DEST", "IMAGE", **keys)[-1].Status == 0
    moved = known.received["1.9.3.1.1"]  # which does not accept JPEG 2000
    assert moved.file_meta.TransferSyntaxUID in (EXPLICIT, "1.2.840.10008.1.2")
    assert len(moved.PixelData) == moved.Rows * moved.Columns * 2


def test_a_move_to_an_unknown_destination_is_refused(archive: System, known: Destination) -> None:
    assert [one.Status for one in move(archive, "NOWHERE", "STUDY", StudyInstanceUID="1.9.1")] == [0xA801]
    assert [one.Status for one in move(archive, "DEST", "STUDY")] == [0xA900]
    assert [one.Status for one in move(archive, "DEST", "STUDY", StudyInstanceUID="1.9.*")] == [0xA900]
    assert [one.Status for one in move(archive, "DEST", "STUDY", StudyInstanceUID="1.99")] == [0]


def test_a_destination_that_refuses_or_is_away_is_reported(archive: System, known: Destination) -> None:
    with Destination(status=0xA700) as full:
        ae_add(archive, "FULL", "127.0.0.1", "--port", str(full.port), "--group", "operators")
        last = move(archive, "FULL", "STUDY", StudyInstanceUID="1.9.2")[-1]
    assert (last.Status, last.NumberOfFailedSuboperations, last.NumberOfCompletedSuboperations) == (0xA702, 2, 0)
    assert move(archive, "FULL", "STUDY", StudyInstanceUID="1.9.2")[-1].Status == 0xA702


def test_movescu_moves_to_itself(archive: System, known: Destination, tmp_path: Path) -> None:
    port = free_port()
    ae_add(archive, "MOVESCU", "127.0.0.1", "--port", str(port), "--group", "operators")
    words = ["-S", "-aet", "MOVESCU", "-aem", "MOVESCU", "+P", str(port), "-k", "QueryRetrieveLevel=STUDY"]
    until(lambda: find_as(archive, "MOVESCU") == 3)
    dcmtk(archive, "movescu", *words, "-k", "StudyInstanceUID=1.9.2", folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_getscu_gets(archive: System, known: Destination, tmp_path: Path) -> None:
    words = ["-S", "-aet", "DEST", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.9.1"]
    dcmtk(archive, "getscu", *words, "-od", str(tmp_path))
    received = [pydicom.dcmread(path) for path in tmp_path.iterdir()]
    assert len(received) == 4
    assert {one.PatientID for one in received} == {"P1"}


def get(archive: System, title: str, *syntaxes: str, **keys: Any) -> tuple[Dataset, list[Dataset]]:
    received: list[Dataset] = []

    def store(event: Any) -> int:
        event.dataset.file_meta = event.file_meta
        received.append(event.dataset)
        return 0

    ae = AE(title)
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    roles = []
    for sop_class in (CTImageStorage, "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.4"):
        for syntax in syntaxes or (EXPLICIT,):
            ae.add_requested_context(sop_class, syntax)
        roles.append(build_role(sop_class, scp_role=True))
    association = ae.associate("127.0.0.1", archive.dicom, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert association.is_established
    model = StudyRootQueryRetrieveInformationModelGet
    responses = [status for status, _ in association.send_c_get(identifier("STUDY", **keys), model)]
    association.release()
    return responses[-1], received


def test_get_sends_as_stored_or_decoded(archive: System, known: Destination) -> None:
    for syntaxes, expected in (((JPEG_2000,), JPEG_2000), ((EXPLICIT,), EXPLICIT)):
        last, (received,) = get(archive, "DEST", *syntaxes, StudyInstanceUID="1.9.3")
        assert (last.Status, received.file_meta.TransferSyntaxUID) == (0, expected)
    last, received_none = get(archive, "DEST", "1.2.840.10008.1.2.4.50", StudyInstanceUID="1.9.3")
    assert (last.Status, last.NumberOfFailedSuboperations, received_none) == (0xA702, 1, [])


def test_patient_root_gets_a_patient(archive: System, known: Destination) -> None:
    assert PatientRootQueryRetrieveInformationModelGet.startswith("1.2.840.10008.5.1.4.1.2.1.")
    last, received = get(archive, "DEST", StudyInstanceUID="1.9.2")
    assert (last.Status, len(received)) == (0, 2)


def test_an_entity_reads_what_it_sent_or_its_group_may_see(archive: System, known: Destination) -> None:
    ae_add(archive, "OTHER", "127.0.0.1")
    until(lambda: find_as(archive, "OTHER") == 0)
    assert get(archive, "OTHER", StudyInstanceUID="1.9.1")[1] == []
    ae_add(archive, "STATION", "127.0.0.1", "--group", "operators")
    until(lambda: find_as(archive, "STATION") == 3)


def test_queries_and_stores_share_the_port(archive: System, known: Destination) -> None:
    """Several associations ask while others send."""
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(find_as(archive, "DEST"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    _, content = instance(PatientID="Q")
    ae = AE("DEST")
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", archive.dicom)
    path = archive.folder / "one.dcm"
    path.write_bytes(content)
    assert association.send_c_store(path).Status == 0
    association.release()
    for thread in threads:
        thread.join()
    assert counts == [3] * 8


@pytest.fixture(scope="module")
def orthanc(archive: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Orthanc with this system as its peer, by DICOM and by DICOMweb."""
    servers = {"section5": [f"http://127.0.0.1:{archive.http}/dicom-web/", "", ""]}
    with Orthanc(
        tmp_path_factory.mktemp("orthanc"),
        Plugins=[str(DICOMWEB)] if DICOMWEB.exists() else [],
        DicomWeb={"Enable": True, "Servers": servers},
        DicomModalities={"section5": ["SECTION5", "127.0.0.1", archive.dicom]},
    ) as running:
        ae_add(archive, "ORTHANC", "127.0.0.1", "--port", str(running.dicom), "--group", "operators")
        yield running


def test_orthanc_finds_and_moves_a_study(archive: System, orthanc: Orthanc) -> None:
    keys = {"PatientID": "P1", "NumberOfStudyRelatedInstances": ""}
    query = orthanc.ask("/modalities/section5/query", {"Level": "Study", "Query": keys})["ID"]
    (found,) = orthanc.ask(f"/queries/{query}/answers?expand&simplify")
    assert (found["StudyInstanceUID"], found["NumberOfStudyRelatedInstances"]) == ("1.9.1", "4")
    orthanc.ask(f"/queries/{query}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    assert len(orthanc.instances()) == 4


def test_orthanc_reads_and_stores_by_dicomweb(archive: System, orthanc: Orthanc) -> None:
    if not DICOMWEB.exists():
        needs("the DICOMweb plugin of Orthanc", "orthanc-dicomweb")
    before = archive.query("SELECT count(*) FROM archive_instance")
    peer = "/dicom-web/servers/section5"
    found = orthanc.ask(f"{peer}/qido", {"Uri": "/studies", "Arguments": {"PatientID": "P2"}})
    assert [one["0020000D"]["Value"] for one in found] == ["1.9.2"]
    done = orthanc.ask(f"{peer}/retrieve", {"Resources": [{"Study": "1.9.2"}], "Synchronous": True})
    assert done["ReceivedInstancesCount"] == "2"
    here = [one for one in orthanc.ask("/studies?expand") if one["MainDicomTags"]["StudyInstanceUID"] == "1.9.2"]
    sent = orthanc.ask(f"{peer}/stow", {"Resources": [here[0]["ID"]], "Synchronous": True})
    assert sent["InstancesCount"] == "2"
    assert archive.query("SELECT count(*) FROM archive_instance") == before  # the same bytes
