"""Who may read over DICOMweb: a session, a token, another web application; and what the audit log says of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest

from people import Person, make_people
from system import SECTION, Answer, System, database, instance

STUDIES = ("1.7.1", "1.7.2")
VIEWER = "https://viewer.example.org"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with database(f"reading_{os.getpid()}") as url:
        running = System(tmp_path_factory.mktemp("system"), url, ("web",), CORS_ORIGINS=VIEWER)
        with running:
            yield running


@pytest.fixture(scope="module")
def tokens(archive: System) -> dict[str, str]:
    """Two senders with a study each, one who reads for a team that has the second study, and an operator."""
    make_people(archive, {"olga": ["operators"], "tess": ["readers", "team"], "nina": ["readers"]})

    def create(name: str, *more: str) -> str:
        command = [sys.executable, str(SECTION / "manage.py"), "token", "create", name, *more]
        done = subprocess.run(command, env=archive.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    found = {"first": create("first"), "second": create("second")}
    for name, uid in zip(found, STUDIES, strict=True):
        content = instance(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1")[1]
        headers = {"Content_Type": "application/dicom", "Authorization": f"Bearer {found[name]}"}
        assert archive.ask("POST", "/dicom-web/studies", content, **headers).status == 200
    found["team"] = create("team's viewer", "--group", "team")
    found["operator"] = create("workstation", "--group", "operators")
    archive.query(
        "INSERT INTO accounts_share (study_id, group_id) SELECT s.id, g.id FROM archive_study s, auth_group g"
        " WHERE s.uid = %s AND g.name = 'team'",
        STUDIES[1],
    )
    return found


def ask(system: System, path: str, token: str) -> Answer:
    return system.ask("GET", f"/dicom-web/{path}", Authorization=f"Bearer {token}")


@pytest.mark.parametrize(
    ("name", "visible"), [("first", STUDIES[:1]), ("second", STUDIES[1:]), ("team", STUDIES[1:]), ("operator", STUDIES)]
)
def test_a_token_reads_what_it_sent_or_its_group_may_see(
    archive: System, tokens: dict[str, str], name: str, visible: tuple[str, ...]
) -> None:
    listed = ask(archive, "studies", tokens[name])
    assert sorted(one["0020000D"]["Value"][0] for one in listed.json()) == list(visible)
    for uid in STUDIES:
        status = 200 if uid in visible else 404
        series = f"studies/{uid}/series/{uid}.1"
        for path in (f"studies/{uid}", f"{series}/metadata", f"{series}/thumbnail", f"studies/{uid}/rendered"):
            assert ask(archive, path, tokens[name]).status == status
        for path in (f"{series}/instances", f"studies/{uid}/series", f"instances?StudyInstanceUID={uid}"):
            assert ask(archive, path, tokens[name]).status == (200 if uid in visible else 204)


def test_nobody_reads_without_a_session_or_a_token(archive: System, tokens: dict[str, str]) -> None:
    for path in (
        "studies",
        f"studies/{STUDIES[0]}",
        f"studies/{STUDIES[0]}/metadata",
        "instances",
        "studies/x/rendered",
    ):
        answer = archive.ask("GET", f"/dicom-web/{path}")
        assert (answer.status, answer.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
        assert ask(archive, path, "guessed").status == 401


@pytest.mark.parametrize(("name", "count"), [("olga", 2), ("tess", 1), ("nina", 0)])
def test_a_session_reads_what_the_portal_shows(archive: System, tokens: dict[str, str], name: str, count: int) -> None:
    person = Person(archive, name)
    listed = person.get("/dicom-web/studies")
    assert len(listed.json() if listed.status_code == 200 else []) == count
    assert person.get(f"/dicom-web/studies/{STUDIES[1]}").status_code == (200 if count else 404)


def test_a_role_without_the_right_to_operate_reads_nothing_more(archive: System, tokens: dict[str, str]) -> None:
    command = [sys.executable, str(SECTION / "manage.py"), "token", "create", "r", "--group"]
    done = subprocess.run([*command, "readers"], env=archive.environment, capture_output=True, text=True, check=True)
    assert ask(archive, "studies", done.stdout.strip()).status == 204
    done = subprocess.run([*command, "nobody"], env=archive.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_queries_and_retrievals_are_audit_events(archive: System, tokens: dict[str, str]) -> None:
    before = archive.query("SELECT coalesce(max(id), 0) FROM audit_event")[0][0]
    ask(archive, "studies?PatientName=Mustermann*", tokens["operator"])
    ask(archive, f"studies/{STUDIES[0]}", tokens["operator"])
    for _ in range(2):
        ask(archive, f"studies/{STUDIES[0]}/metadata", tokens["operator"])
    events = archive.query("SELECT kind, actor, detail, study_uid, address FROM audit_event WHERE id > %s", before)
    assert ("queried", "http:workstation", "dicom-web/studies: 0 rows", "", "127.0.0.1") in events
    assert ("retrieved", "http:workstation", "1 instances", STUDIES[0], "127.0.0.1") in events
    assert "Mustermann" not in str(events)


def test_only_a_named_origin_may_read_from_a_browser(archive: System, tokens: dict[str, str]) -> None:
    asks = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "authorization"}
    preflight = archive.ask("OPTIONS", "/dicom-web/studies", Origin=VIEWER, **asks)
    assert preflight.headers["Access-Control-Allow-Origin"] == VIEWER
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert preflight.headers["Access-Control-Allow-Credentials"] is None
    for path, origin, allowed in (
        ("/dicom-web/studies", VIEWER, VIEWER),
        ("/dicom-web/studies", "https://other.example.org", None),
        ("/api/studies/", VIEWER, None),
    ):
        answer = archive.ask("GET", path, Origin=origin, Authorization=f"Bearer {tokens['first']}")
        assert answer.headers["Access-Control-Allow-Origin"] == allowed


def test_the_capabilities_name_every_resource(archive: System) -> None:
    from query.urls import resources

    document = archive.ask("GET", "/dicom-web/").json()
    assert document["openapi"].startswith("3.")
    assert len(document["paths"]) == len(resources)
    instance_path = "/studies/{study}/series/{series}/instances/{instance}"
    assert set(document["paths"]["/studies"]) == {"parameters", "get", "post"}
    assert {"get", "parameters"} == set(document["paths"][f"{instance_path}/frames/{{numbers}}"])
    names = [one["name"] for one in document["paths"]["/studies"]["get"]["parameters"]]
    assert {"PatientName", "ModalitiesInStudy", "limit", "includefield"} <= set(names)


def test_options_describe_the_services_as_wadl(archive: System) -> None:
    from query.urls import resources

    answer = archive.ask("OPTIONS", "/dicom-web/", Accept="application/vnd.sun.wadl+xml")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/vnd.sun.wadl+xml")
    paths = [one.get("path") for one in ET.fromstring(answer.body).iter("{http://wadl.dev.java.net/2009/02}resource")]
    assert len(paths) == len(resources)
    assert "studies/{study}/series/{series}/instances/{instance}/metadata" in paths
    assert archive.ask("OPTIONS", "/dicom-web/").json()["openapi"]
