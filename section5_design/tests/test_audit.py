"""What proves later what was done: the chained log, signed receipts, audit messages."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from people import Person, make_people
from system import OVER_HTTP, SECTION, System, database, instance, until

PEOPLE = {"owner": ["submitters"], "stranger": ["submitters"], "operator": ["operators"], "auditor": ["auditors"]}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with (
        database(f"evidence_{os.getpid()}") as url,
        System(tmp_path_factory.mktemp("evidence"), url, OVER_HTTP) as running,
    ):
        make_people(running, PEOPLE)
        yield running


def manage(system: System, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SECTION / "manage.py"), *words]
    return subprocess.run(command, env=system.environment, capture_output=True, text=True, check=False)


def sent(system: System, person: Person) -> tuple[str, int, bytes]:
    uid, content = instance()
    person.send(content)
    system.wait_for(uid)
    ((id_,),) = system.query("SELECT id FROM archive_instance WHERE sop_instance_uid = %s", uid)
    return uid, id_, content


def linked(system: System) -> None:
    """Wait until the chain has every line."""
    until(lambda: system.query("SELECT count(*) FROM audit_event") == system.query("SELECT count(*) FROM audit_link"))


def receipt(person: Person, id_: int) -> str:
    until(lambda: person.get(f"/api/receipts/{id_}").status_code == 200)
    return person.get(f"/api/receipts/{id_}").text


def test_a_receipt_is_verified_with_the_public_key(system: System) -> None:
    import hashlib

    owner = Person(system, "owner")
    uid, id_, content = sent(system, owner)
    key: Any = load_pem_public_key(Person(system).get("/api/receipts/key.pem").content)
    told = jwt.decode(receipt(owner, id_).strip(), key, algorithms=["EdDSA"])
    assert (told["sop_instance_uid"], told["sha256"]) == (uid, hashlib.sha256(content).hexdigest())
    assert (told["size"], told["sender"]) == (len(content), "user:owner")
    found = system.query("SELECT encode(hash, 'hex') FROM audit_link WHERE seq = %s", told["chain"]["link"])
    assert found == [(told["chain"]["hash"],)]


def test_a_receipt_is_only_for_its_sender(system: System) -> None:
    _, id_, _ = sent(system, Person(system, "owner"))
    codes = [Person(system, name).get(f"/api/receipts/{id_}").status_code for name in ("stranger", "auditor", "")]
    assert codes == [404, 404, 401]


def test_views_downloads_and_searches_are_recorded(system: System) -> None:
    owner = Person(system, "owner")
    uid, id_, _ = sent(system, owner)
    for path in (
        f"/images/{id_}/",
        f"/images/{id_}/picture.png",
        f"/images/{id_}/result.dcm",
        "/?patient=CompressedSamples",
        "/?patient=CompressedSamples",
        f"/images/{id_}/",
    ):
        owner.get(path)
    Person(system, "owner", "wrong")
    Person(system, "my password by mistake", "wrong")
    found = system.query(
        "SELECT kind, actor, detail FROM audit_event WHERE instance_id = %s AND actor = 'user:owner' ORDER BY id",
        id_,
    )
    assert found == [
        ("received", "user:owner", "new"),
        ("viewed", "user:owner", ""),
        ("exported", "user:owner", "dcm"),
    ]
    assert system.query("SELECT detail, address FROM audit_event WHERE kind = 'queried'") == [
        ("by patient", "127.0.0.1")
    ]
    failed = system.query("SELECT actor FROM audit_event WHERE kind = 'login failed' ORDER BY id")
    assert failed == [("user:owner",), ("user:unknown",)]
    assert system.query("SELECT count(*) FROM audit_event WHERE kind = 'login' AND actor = 'user:owner'") != [(0,)]
    assert uid not in str(found)


def test_one_correlation_id_leads_from_request_to_result(system: System) -> None:
    uid, content = instance()
    answer = system.ask(
        "POST", "/dicom-web/studies", content, Content_Type="application/dicom", X_Request_ID="from-the-pacs-7"
    )
    if answer.status == 401:  # there are accounts: by a token
        token = manage(system, "token", "create", "pacs").stdout.strip()
        named = {
            "Content_Type": "application/dicom",
            "X_Request_ID": "from-the-pacs-7",
            "Authorization": f"Bearer {token}",
        }
        answer = system.ask("POST", "/dicom-web/studies", content, **named)
    assert (answer.status, answer.headers["X-Request-ID"]) == (200, "from-the-pacs-7")
    system.wait_for(uid)
    kinds = system.query("SELECT kind FROM audit_event WHERE correlation_id = 'from-the-pacs-7' ORDER BY id")
    assert [kind for (kind,) in kinds] == ["received", "done"]


def test_an_invalid_correlation_id_is_replaced(system: System) -> None:
    for bad in ("a b", "x" * 33, "<script>"):
        assert system.ask("GET", "/live", X_Request_ID=bad).headers["X-Request-ID"] != bad


def test_altered_and_removed_events_are_reported(system: System) -> None:
    owner = Person(system, "owner")
    _, id_, _ = sent(system, owner)
    held = system.folder / "receipt"
    held.write_text(receipt(owner, id_))
    linked(system)
    for command in (("audit", "verify"), ("receipt", str(held))):
        done = manage(system, *command)
        assert (done.returncode, done.stderr) == (0, "")
    system.kill("maintenance")  # no events are added while some are altered

    log, both = [("audit", "verify")], [("audit", "verify"), ("receipt", str(held))]

    def broken(statement: str, *values: object, checks: Sequence[tuple[str, ...]] = log) -> str:
        """Return what verification finds after a statement with all rights, which is rolled back."""
        with_rights = (
            "BEGIN; ALTER TABLE audit_event DISABLE TRIGGER USER; ALTER TABLE audit_link DISABLE TRIGGER USER;"
        )
        copies = "CREATE TABLE IF NOT EXISTS e AS TABLE audit_event; CREATE TABLE IF NOT EXISTS l AS TABLE audit_link;"
        system.query(f"{copies} {with_rights} {statement}; COMMIT", *values)
        faults = [manage(system, *command) for command in checks]
        assert 1 in [done.returncode for done in faults]
        columns = (
            "at, kind, actor, address, detail, correlation_id, instance_id, study_uid, sop_class_uid, sop_instance_uid"
        )
        system.query(
            "DELETE FROM audit_event; DELETE FROM audit_link; INSERT INTO audit_link TABLE l;"
            f" INSERT INTO audit_event (id, {columns}) OVERRIDING SYSTEM VALUE SELECT id, {columns} FROM e"
        )
        return "".join(done.stderr for done in faults)

    ((middle,),) = system.query("SELECT event_id FROM audit_link ORDER BY seq OFFSET 1 LIMIT 1")
    assert f"event {middle} or the link before it was altered" in broken(
        "UPDATE audit_event SET actor = 'user:x' WHERE id = %s", middle
    )
    assert f"event {middle} is missing" in broken("DELETE FROM audit_event WHERE id = %s", middle)
    removed = "DELETE FROM audit_event WHERE id = %s; DELETE FROM audit_link WHERE event_id = %s"
    assert "are missing" in broken(removed, middle, middle)
    cut = "DELETE FROM audit_link WHERE seq >= (SELECT max(seq) FROM audit_link WHERE event_id <= %s);"
    cut += "DELETE FROM audit_event WHERE id NOT IN (SELECT event_id FROM audit_link)"
    ((received,),) = system.query("SELECT id FROM audit_event WHERE instance_id = %s AND kind = 'received'", id_)
    assert "the log was truncated or rebuilt" in broken(cut, received, checks=both)
    forged = "UPDATE audit_link SET signature = decode(repeat('00', 64), 'hex') WHERE signature IS NOT NULL"
    assert "was not made with this system's key" in broken(forged)
    assert manage(system, "audit", "verify").returncode == 0
    for table in ("audit_event", "audit_link"):
        system.query(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    system.start("maintenance")


def test_triggers_forbid_changes_of_the_audit_log(system: System) -> None:
    for statement in (
        "UPDATE audit_event SET actor = ''",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
        "UPDATE audit_link SET hash = ''",
        "DELETE FROM audit_link",
        "TRUNCATE audit_link",
    ):
        with pytest.raises(Exception, match="append-only"):
            system.query(statement)


def test_the_audit_log_is_exported_as_dicom_audit_messages(system: System) -> None:
    uid, _, _ = sent(system, Person(system, "owner"))
    done = manage(system, "audit", "export", "--since", "2020-01-01")
    assert done.returncode == 0, done.stderr
    messages = [ET.fromstring(line) for line in done.stdout.splitlines()]
    events = {message.find("EventIdentification/EventID").get("csd-code") for message in messages}  # type: ignore[union-attr]
    assert {"110104", "110103", "110114"} <= events
    of_this = [m for m in messages if any(node.get("UID") == uid for node in m.iter("Instance"))]
    assert {m.find("ActiveParticipant").get("UserID") for m in of_this} >= {"user:owner"}  # type: ignore[union-attr]
    order = [node.tag for node in of_this[0]]
    assert order == [
        *("EventIdentification", "ActiveParticipant", "AuditSourceIdentification", "ParticipantObjectIdentification")
    ]


def test_reading_the_audit_log_is_recorded(system: System) -> None:
    uid, _, _ = sent(system, Person(system, "owner"))
    auditor = Person(system, "auditor")
    page = auditor.get(f"/audit/?uid={uid}&actor=owner").text
    assert page.count(f"<code>{uid}</code>") == 1
    export = auditor.get(f"/audit/export.csv?uid={uid}&actor=owner").text
    assert [line.split(",")[2] for line in export.splitlines()] == ["kind", "received"]
    assert auditor.get("/audit/?actor=owner&from=2001-01-01&to=2001-01-31").text.count("<code>") == 0
    found = system.query("SELECT detail FROM audit_event WHERE kind = 'audit'")
    assert {(f"read actor owner, uid {uid}",), (f"exported actor owner, uid {uid}",)} <= set(found)
    assert auditor.get("/audit/?before=x").status_code == 400


def test_every_object_and_preview_is_encrypted(system: System) -> None:
    sent(system, Person(system, "owner"))
    files = [path for path in (system.folder / "store").rglob("*") if path.is_file()]
    assert {path.relative_to(system.folder / "store").parts[0] for path in files} == {"objects", "previews"}
    assert {path.read_bytes()[:8] for path in files} == {b"S5SEAL1\n"}


def test_an_object_that_was_altered_is_not_shown(system: System) -> None:
    owner = Person(system, "owner")
    uid, id_, _ = sent(system, owner)
    ((sha256,),) = system.query("SELECT sha256 FROM archive_instance WHERE sop_instance_uid = %s", uid)
    path: Path = system.folder / "store" / "objects" / sha256[:2] / sha256
    whole = path.read_bytes()
    path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    answer = owner.get(f"/images/{id_}/picture.png")
    path.write_bytes(whole)
    assert (answer.status_code, "was altered" in answer.text) == (500, True)
    assert json.loads(owner.get(f"/images/{id_}/result.json").content)["sop_instance_uid"] == uid


@pytest.mark.django_db
def test_changes_of_accounts_are_recorded() -> None:
    from django.contrib.auth.models import Group

    from accounts.people import create_person
    from audit.queries import find_events

    create_person("ana", [Group.objects.get_or_create(name="readers")[0]], "user:boss")
    events = [(event["actor"], event["detail"]) for event in find_events(None, kind="accounts")]
    assert events == [("user:boss", "added ana: role readers")]
