"""The delivery page: an operator adds a webhook and a rule, tries it, sends stored images, and removes both."""

import os
from collections.abc import Iterator

import pytest

from people import Person, make_people
from system import OVER_HTTP, System, database, instance, until


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("deliveries")
    with database(f"deliveries_{os.getpid()}") as url, System(folder, url, OVER_HTTP) as running:
        make_people(running, {"olga": ["operators"]})
        yield running


@pytest.fixture
def operator(system: System) -> Person:
    return Person(system, "olga")


def test_an_operator_sends_stored_images_to_a_new_destination(system: System, operator: Person) -> None:
    uid, content = instance()
    system.post(content)
    system.wait_for(uid)
    until(lambda: system.query("SELECT count(*) FROM archive_arrival") == [(0,)])  # a rule applies to later ones only
    hook = {"form": "destination", "name": "hook", "kind": "webhook", "url": "http://127.0.0.1:9/"}
    assert "whsec_" in operator.post("/deliveries/", hook, page="/deliveries/").text
    ((destination,),) = system.query("SELECT id FROM delivery_destination")
    rule = {"form": "rule", "destination": str(destination), "modality": "CT"}
    assert operator.post("/deliveries/", rule, page="/deliveries/").status_code == 302
    ((number,),) = system.query("SELECT id FROM delivery_rule")
    operator.post(f"/deliveries/rules/{number}", {"action": "try"}, page="/deliveries/")
    assert "1 stored images match; 0 of them" in operator.get("/deliveries/").text
    operator.post(f"/deliveries/rules/{number}", {"action": "send"}, page="/deliveries/")
    assert system.query("SELECT count(*) FROM delivery_delivery") == [(1,)]
    assert "whsec_" not in operator.get("/deliveries/").text
    operator.post(f"/deliveries/destinations/{destination}", {"action": "pause"}, page="/deliveries/")
    assert system.query("SELECT enabled FROM delivery_destination") == [(False,)]
    operator.post(f"/deliveries/destinations/{destination}", {"action": "remove"}, page="/deliveries/")
    assert system.query("SELECT count(*) FROM delivery_delivery") == [(0,)]


def test_selected_studies_are_sent_to_a_destination_once(system: System, operator: Person) -> None:
    for number in (1, 2):
        system.post(instance(StudyInstanceUID="1.2.91", InstanceNumber=number)[1])
    hook = {"form": "destination", "name": "bulk", "kind": "webhook", "url": "http://127.0.0.1:9/"}
    operator.post("/deliveries/", hook, page="/deliveries/")
    ((destination,),) = system.query("SELECT id FROM delivery_destination WHERE name = 'bulk'")
    ((study,),) = system.query("SELECT id FROM archive_study WHERE uid = '1.2.91'")
    send = {"action": "send", "study": str(study), "destination": str(destination)}
    operator.post("/studies/actions", send)
    assert "2 images queued for bulk." in operator.get("/").text
    operator.post("/studies/actions", send)
    assert "is sent to bulk or queued already" in operator.get("/").text
    events = system.query("SELECT actor, detail FROM audit_event WHERE kind = 'sent' AND study_uid = '1.2.91'")
    assert events == [("user:olga", "to bulk")] * 2
    assert operator.post("/studies/actions", send | {"destination": "0"}).status_code == 404
    assert "Delivery to a destination" in operator.get("/operations/").text  # waiting, in the queue
    system.query("UPDATE delivery_delivery SET delivered_at = now() WHERE destination_id = %s", destination)
    assert "Deliveries per minute, at most 2" in operator.get("/operations/").text


def test_an_incomplete_destination_is_refused_beside_its_field(operator: Person) -> None:
    page = operator.post("/deliveries/", {"form": "destination", "name": "PACS", "kind": "dicom"}, page="/deliveries/")
    assert "C-STORE needs an AE title, a host and a port" in page.text


def test_the_page_is_spanish_for_spanish_readers(operator: Person) -> None:
    page = operator.get("/deliveries/", headers={"Accept-Language": "es"}).text
    assert "Destinos" in page
    assert "Destinations" not in page
    assert "Rules" not in page


def test_an_operator_sets_an_archive_and_a_rule_for_priors(system: System, operator: Person) -> None:
    archive = {"form": "archive", "name": "pacs", "title": "PACS", "host": "127.0.0.1", "port": "9"}
    assert operator.post("/priors/", archive, page="/priors/").status_code == 302
    ((number,),) = system.query("SELECT id FROM priors_archive")
    rule = {"form": "rule", "archive": str(number), "modality": "CT", "newest": "2"}
    assert operator.post("/priors/", rule | {"newest": "0"}, page="/priors/").status_code == 200
    assert operator.post("/priors/", rule, page="/priors/").status_code == 302
    ((rule_number,),) = system.query("SELECT id FROM priors_rule")
    system.post(instance(PatientID="P", StudyInstanceUID="1.2.77")[1])
    until(lambda: system.query("SELECT count(*) FROM priors_search") == [(1,)])
    page = operator.get("/priors/", headers={"Accept-Language": "es"}).text
    assert "PACS@127.0.0.1:9" in page
    assert "Últimas búsquedas" in page
    assert "Latest searches" not in page
    operator.post(f"/priors/archives/{number}", {"action": "pause"}, page="/priors/")
    assert system.query("SELECT enabled FROM priors_archive") == [(False,)]
    operator.post(f"/priors/rules/{rule_number}", {}, page="/priors/")
    operator.post(f"/priors/archives/{number}", {"action": "remove"}, page="/priors/")
    assert system.query("SELECT (SELECT count(*) FROM priors_rule) + (SELECT count(*) FROM priors_archive)") == [(0,)]
