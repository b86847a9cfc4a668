"""QIDO-RS (PS3.18, 10.6) as its clients see it."""

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest
from dicomweb_client import DICOMwebClient
from django.test import Client
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from archive.models import Study
from query import qido
from system import Answer, System, database, instance

STUDIES: list[dict[str, Any]] = [
    {"PatientName": "Doe^Jane", "PatientID": "A1", "StudyDate": "20200131", "StudyTime": "103000", "Modality": "CT"},
    {"PatientName": "Doe^John", "PatientID": "A2", "StudyDate": "20200215", "StudyTime": "230000", "Modality": "MR"},
    {
        "PatientName": "Roe_R",
        "PatientID": "B%",
        "StudyDate": "20210101",
        "StudyTime": "000001.5",
        "TimezoneOffsetFromUTC": "+0130",
        "Modality": "CT",
    },
    {
        "PatientName": "Yamada^Tarou=山田^太郎",
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientID": "C",
        "StudyDate": "",
        "StudyTime": "",
        "TimezoneOffsetFromUTC": "",
        "Modality": "US",
    },
]


def build_request(step: str, procedure: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
    return item


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A web part with four studies: the first has two series, with two images and one."""
    with database(f"qido_{os.getpid()}") as url:
        running = System(tmp_path_factory.mktemp("system"), url, ("web",))
        with running:
            for number, values in enumerate(STUDIES, 1):
                place = {"StudyInstanceUID": f"1.2.{number}", "SeriesInstanceUID": f"1.2.{number}.1"}
                assert running.post(instance(**values, **place, InstanceNumber=1)[1]).status == 200
            first = STUDIES[0] | {"StudyInstanceUID": "1.2.1"}
            assert running.post(instance(**first, SeriesInstanceUID="1.2.1.1", InstanceNumber=2)[1]).status == 200
            requests = [build_request("SPS1", "RP1"), build_request("SPS_2", "RP2")]
            second = first | {"SeriesInstanceUID": "1.2.1.2", "Modality": "SR", "SeriesNumber": 7}
            second |= {"RequestAttributesSequence": requests}
            assert running.post(instance(**second)[1]).status == 200
            yield running


def search(system: System, path: str) -> Any:
    answer = system.ask("GET", f"/dicom-web/{path}")
    assert answer.status in (200, 204), answer.body
    return answer.json() if answer.status == 200 else []


def studies(system: System, query: str) -> list[str]:
    """The last number of each found study's UID, ascending."""
    found = search(system, f"studies?{query}")
    return sorted(one["0020000D"]["Value"][0].rpartition(".")[2] for one in found)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "1234"),
        ("PatientID=A1", "1"),
        ("00100020=A1", "1"),
        ("PatientID=A*", "12"),
        ("PatientID=A?", "12"),
        ("PatientID=a1", ""),
        ("PatientID=B%25", "3"),
        ("PatientID=%25", ""),
        ("PatientName=doe*", "12"),
        ("PatientName=DOE^JANE", "1"),
        ("PatientName=Roe_R", "3"),
        ("PatientName=Roe*_*", "3"),
        ("PatientName=Doe_Jane", ""),
        ("PatientName=*oe*", "123"),
        ("PatientName=Doe^Jane^^", "1"),
        ("PatientName=Roe_R^^*", ""),
        ("PatientName=Yamada^Tarou", "4"),
        ("PatientName=Yamada^Tarou^=", "4"),
        ("InstitutionName=", "1234"),
        ("InstitutionName=*&PatientID=A1", "1"),
        ("RequestAttributesSequence.ScheduledProcedureStepID=", "1234"),
        ("00400275.00400009=&PatientID=A1", "1"),
        ("charset=utf-8&PatientID=A1", "1"),
        (f"PatientName={quote('山田')}*", "4"),
        ("PatientName=", "1234"),
        ("PatientName=*", "1234"),
        ("StudyDate=20200131", "1"),
        ("StudyDate=20200131-20200215", "12"),
        ("StudyDate=20200201-", "23"),
        ("StudyDate=-20200215", "12"),
        ("StudyTime=10", "1"),
        ("StudyTime=1000-1030", "1"),
        ("StudyTime=-0000", "3"),
        ("StudyInstanceUID=1.2.1,1.2.3", "13"),
        ("StudyInstanceUID=1.2.1%5C1.2.3", "13"),
        ("ModalitiesInStudy=SR", "1"),
        ("ModalitiesInStudy=SR,MR", "12"),
        ("ModalitiesInStudy=C*", "13"),
        ("ModalitiesInStudy=XA", ""),
        ("PatientID=A*&StudyDate=2020021500", "400"),
    ],
)
def test_studies_match(archive: System, query: str, expected: str) -> None:
    if expected == "400":
        assert archive.ask("GET", f"/dicom-web/studies?{query}").status == 400
    else:
        assert "".join(studies(archive, query)) == expected


@pytest.mark.parametrize(
    "query",
    [
        *("limit=-1", "limit=x", "offset=1.5", "limit=%D9%A1"),
        *(
            "PatientName=%00",
            "includefield=Nothing",
        ),
        *("StudyDate=20210101-20200101", "StudyDate=tomorrow", "StudyDate=-", "StudyDate=2020*", "StudyTime=25:00"),
        *("StudyInstanceUID=1.2.*", "StudyInstanceUID=../1", "PatientID=A1&PatientID=A2", "PatientID=1&00100020=1"),
        "PatientName=" + "a*" * 200,
    ],
)
def test_a_malformed_query_is_400(archive: System, query: str) -> None:
    answer = archive.ask("GET", f"/dicom-web/studies?{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert answer.body.count(b"\n") == 1


@pytest.mark.parametrize(
    "name", ["Unknown", "SOPInstanceUID", "InstitutionName", "Modality", "orderby", "00091001", "00000000", "_\u00e9"]
)
def test_unsupported_parameters_are_ignored_with_a_warning(archive: System, name: str) -> None:
    answer = archive.ask("GET", f"/dicom-web/studies?PatientID=A1&{quote(name)}=x")
    assert (answer.status, len(answer.json())) == (200, 1)
    shown = name.replace("\u00e9", "?")
    expected = f'299 section5 "The following parameters are not supported and were ignored: {shown}"'
    assert answer.headers["Warning"] == expected


def test_private_attributes_may_be_asked_for(archive: System) -> None:
    assert len(search(archive, "studies?includefield=00091001&includefield=all&PatientID=A1")) == 1


def test_a_slash_at_the_end_changes_nothing(archive: System) -> None:
    for path in ("studies", "studies/1.2.1/series", "studies/1.2.1/metadata"):
        with_slash, without = (archive.ask("GET", f"/dicom-web/{path}{end}") for end in ("/", ""))
        assert (with_slash.status, with_slash.body) == (200, without.body)
    assert archive.ask("OPTIONS", "/dicom-web/studies/").headers["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_unknown_resources_and_methods_are_answered_in_one_line(archive: System) -> None:
    for method, path, status in (
        ("GET", "patients", 404),
        ("POST", "studies/1.2.1/frames", 404),
        ("PUT", "studies", 405),
    ):
        answer = archive.ask(method, f"/dicom-web/{path}")
        assert (answer.status, answer.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
        assert answer.body.count(b"\n") == 1


def test_a_study_has_the_attributes_of_the_standard(archive: System) -> None:
    (found,) = search(archive, "studies?StudyInstanceUID=1.2.1")
    assert list(found) == sorted(found)
    assert found["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}
    assert sorted(found["00080061"]["Value"]) == ["CT", "SR"]
    assert (found["00201206"], found["00201208"]) == ({"vr": "IS", "Value": [2]}, {"vr": "IS", "Value": [3]})
    assert found["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
    assert found["00081190"] == {
        "vr": "UR",
        "Value": [f"http://127.0.0.1:{archive.http}/dicom-web/studies/1.2.1"],
    }
    assert "0020000E" not in found


def test_a_study_has_its_time_zone_if_it_is_known(archive: System) -> None:
    (known,), (unknown,) = (search(archive, f"studies?StudyInstanceUID=1.2.{number}") for number in (3, 4))
    assert known["00080201"] == {"vr": "SH", "Value": ["+0130"]}
    assert unknown["00080201"] == {"vr": "SH"}


def test_component_groups_of_a_name_are_separate(archive: System) -> None:
    (found,) = search(archive, "studies?PatientID=C")
    assert found["00100010"]["Value"] == [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]
    assert found["00080020"] == {"vr": "DA"}


def test_series_and_instances_of_a_study(archive: System) -> None:
    series = search(archive, "studies/1.2.1/series")
    assert {one["0020000E"]["Value"][0]: one["00201209"]["Value"] for one in series} == {"1.2.1.1": [2], "1.2.1.2": [1]}
    assert "00100010" not in series[0]
    (only,) = search(archive, "studies/1.2.1/series?Modality=SR")
    assert only["00200011"] == {"vr": "IS", "Value": [7]}
    instances = search(archive, "studies/1.2.1/series/1.2.1.1/instances?includefield=PatientName")
    assert [one["00200013"]["Value"] for one in instances] == [[2], [1]]
    assert instances[0]["00280010"] == {"vr": "US", "Value": [128]}
    assert instances[0]["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]
    assert len(search(archive, "studies/1.2.1/instances")) == 3


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS1", 1),
        ("00400275.00401001=RP*", 1),
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS1&00400275.00401001=RP1", 1),
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS1&00400275.00401001=RP2", 0),  # not in one item
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS%3F2", 1),
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS_1", 0),
        ("RequestAttributesSequence.ScheduledProcedureStepID=", 2),
        ("RequestAttributesSequence=*&Modality=SR", 1),
    ],
)
def test_series_match_by_their_requests(archive: System, query: str, count: int) -> None:
    assert len(search(archive, f"studies/1.2.1/series?{query}")) == count
    assert len(search(archive, f"instances?StudyInstanceUID=1.2.1&{query}")) == (count if count < 2 else 3)


def test_series_have_their_requests(archive: System) -> None:
    (found,) = search(archive, "studies/1.2.1/series?Modality=SR")
    assert found["00400275"]["Value"] == [
        {"00400009": {"vr": "SH", "Value": [step]}, "00401001": {"vr": "SH", "Value": [procedure]}}
        for step, procedure in (("SPS1", "RP1"), ("SPS_2", "RP2"))
    ]
    (other,) = search(archive, "studies/1.2.1/series?Modality=CT")
    assert other["00400275"] == {"vr": "SQ"}


def test_all_series_and_all_instances(archive: System) -> None:
    (found,) = search(archive, "series?Modality=MR&PatientID=A2")
    assert found["00100020"]["Value"] == ["A2"]
    assert len(search(archive, "instances?Modality=CT")) == 3
    assert len(search(archive, "instances?InstanceNumber=2")) == 1


def test_results_are_paged(archive: System) -> None:
    seen = [
        one["0020000D"]["Value"][0] for start in range(5) for one in search(archive, f"studies?limit=1&offset={start}")
    ]
    assert seen == ["1.2.4", "1.2.3", "1.2.2", "1.2.1"]
    answer = archive.ask("GET", "/dicom-web/studies?limit=3")
    assert "additional results" in answer.headers["Warning"]
    assert archive.ask("GET", "/dicom-web/studies?limit=4").headers["Warning"] is None
    empty = archive.ask("GET", "/dicom-web/studies?limit=0")
    assert (empty.status, empty.headers["Content-Type"]) == (204, None)
    assert archive.ask("GET", "/dicom-web/studies?offset=99999999999999999999").status == 400


@pytest.mark.django_db
def test_results_beyond_the_maximum_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qido, "MAX_RESULTS", 2)
    Study.objects.bulk_create([Study(uid=f"1.2.{number}", patient_id="P") for number in range(6)])
    for query, left in (("", "4 "), ("?limit=9&offset=1", "3 "), ("?limit=1", ""), ("?offset=3", "1 ")):
        warning = Client().get(f"/dicom-web/studies{query}").headers["Warning"]
        assert warning == f'299 section5 "There are {left}additional results that can be requested."'


def test_fuzzy_matching_is_declined_as_the_standard_says(archive: System) -> None:
    answer = archive.ask("GET", "/dicom-web/studies?fuzzymatching=true&PatientID=A1")
    assert (answer.status, len(answer.json())) == (200, 1)
    assert answer.headers["Warning"].startswith("299 ")
    assert "fuzzymatching parameter is not supported" in answer.headers["Warning"]


def test_other_representations_are_406(archive: System) -> None:
    for accept, status in (("application/json", 200), ("application/*", 200), ("text/html", 406), ("nothing", 400)):
        assert archive.ask("GET", "/dicom-web/studies", Accept=accept).status == status
    assert archive.ask("GET", "/dicom-web/studies?charset=latin-1").status == 406
    assert archive.ask("DELETE", "/dicom-web/studies").status == 405


def test_results_as_xml_have_a_part_each(archive: System) -> None:
    for accept in ('multipart/related; type="application/dicom+xml"', "application/dicom+xml"):
        answer = archive.ask("GET", "/dicom-web/studies?PatientID=A*", Accept=accept)
        assert answer.headers["Content-Type"].startswith('multipart/related; type="application/dicom+xml"; boundary=')
        parts = answer.body.split(b"\r\n\r\n")[1:]
        roots = [ET.fromstring(part.partition(b"\r\n--")[0]) for part in parts]
        names = [
            root.findtext("{*}DicomAttribute[@keyword='PatientName']/{*}PersonName/*/{*}GivenName") for root in roots
        ]
        assert names == ["John", "Jane"]
    only = archive.ask("GET", "/dicom-web/studies?PatientID=A1", Accept="application/dicom+xml")
    assert only.headers["Content-Type"] == "application/dicom+xml"
    assert archive.ask("GET", "/dicom-web/studies?PatientID=none", Accept="application/dicom+xml").status == 204


def test_refused_media_types_are_not_sent(archive: System) -> None:
    answer = archive.ask("GET", "/dicom-web/studies", Accept="application/dicom+json;q=0, application/dicom+xml;q=0.1")
    assert answer.headers["Content-Type"].startswith("multipart/related")
    assert archive.ask("GET", "/dicom-web/studies", Accept="application/dicom+json; q=0").status == 406


def test_python_client_searches(archive: System) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{archive.http}/dicom-web")
    found = client.search_for_studies(search_filters={"PatientName": "Doe*"}, fields=["all"], limit=10)
    assert len(found) == 2
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    assert len(client.search_for_series("1.2.1")) == 2
    assert len(client.search_for_instances(get_remaining=True, limit=2)) == 6


def post_conflict(system: System, description: str, uid: str) -> Answer:
    place = {"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.9.1", "SOPInstanceUID": uid}
    return system.post(instance(**place, SeriesDescription=description, PatientID="Z")[1])


def test_of_two_contents_under_one_uid_the_first_is_listed(archive: System) -> None:
    uid = generate_uid()
    for description in ("first", "second"):
        assert post_conflict(archive, description, uid).status == 200
    assert len(search(archive, "studies/1.2.9/instances")) == 1
    (study,) = search(archive, "studies?StudyInstanceUID=1.2.9")
    assert study["00201208"]["Value"] == [1]
