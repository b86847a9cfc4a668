"""Lists are read from a standby of the database; whoever just sent something sees it, and no fault of it shows."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import pydicom
import pytest
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelFind

from local.embedded_postgres import EmbeddedPostgres
from people import Person, make_people
from standby_server import Standby
from system import System, instance, public_folder, until
from test_query_retrieve import ae_add, identifier

LISTS = {"studies", "QIDO-RS", "API", "uploads"}


class Sent(NamedTuple):
    """A study that was sent: its patient's ID, the UID of its image, and the page of its upload."""

    patient: str
    uid: str
    upload: str


@pytest.fixture(scope="module")
def standby() -> Iterator[tuple[System, Standby]]:
    """A system with a standby, an operator and a sender."""
    with (
        public_folder() as folder,
        EmbeddedPostgres(folder / "primary") as primary,
        Standby(folder / "standby", primary) as server,
        System(folder / "system", primary.url, STANDBY_URL=server.url) as system,
    ):
        make_people(system, {"sender": ["submitters"], "operator": ["operators"]})
        for title in ("SENDER", "OTHER"):
            ae_add(system, title, "127.0.0.1", "--group", "operators")
        yield system, server


def make_study() -> tuple[str, str, bytes]:
    """Make a study with one image for a new patient: return the patient ID, the UID and the file."""
    study, _ = instance()
    patient = study[-16:]
    return patient, *instance(PatientID=patient, StudyInstanceUID=study)


def send_study(sender: Person) -> Sent:
    """Send a study with the form."""
    patient, uid, content = make_study()
    answer = sender.send(content)
    assert answer.status_code == 302
    return Sent(patient, uid, answer.headers["Location"])


def lists_with(person: Person, sent: Sent) -> set[str]:
    """Return the lists that show a study, its image or its upload."""
    pages = {
        "studies": (person.get("/"), sent.patient),
        "QIDO-RS": (person.get(f"/dicom-web/studies?PatientID={sent.patient}"), sent.patient),
        "API": (person.get(f"/api/instances/?sop_instance_uid={sent.uid}"), sent.uid),
        "uploads": (person.get("/uploads/"), f'"{sent.upload}"'),
    }
    assert all(page.status_code in (200, 204) for page, _ in pages.values())
    return {name for name, (page, text) in pages.items() if text in page.text}


def test_the_sender_sees_a_study_that_the_standby_does_not_have_yet(standby: tuple[System, Standby]) -> None:
    system, server = standby
    sender, operator = Person(system, "sender"), Person(system, "operator")

    def sent_alone() -> bool:
        """Send while the standby stands still; whether only the sender sees it, unless that took too long."""
        with server.paused():
            sent = send_study(sender)
            assert lists_with(sender, sent) == LISTS
            return not lists_with(operator, sent)

    until(sent_alone)


def test_everybody_sees_a_study_that_a_standby_far_behind_does_not_have(standby: tuple[System, Standby]) -> None:
    system, server = standby
    sender, operator = Person(system, "sender"), Person(system, "operator")

    def seen_late() -> bool:
        with server.paused():
            sent = send_study(sender)
            if lists_with(operator, sent):
                return False
            until(lambda: lists_with(operator, sent) == LISTS)
            return True

    until(seen_late)


def test_lists_are_read_from_the_primary_while_the_standby_is_down(standby: tuple[System, Standby]) -> None:
    system, server = standby
    sender, operator = Person(system, "sender"), Person(system, "operator")
    server.stop()
    try:
        sent = send_study(sender)
        assert lists_with(sender, sent) == LISTS
        assert lists_with(operator, sent) == LISTS
    finally:
        server.start()


def test_an_entity_finds_what_it_sent_although_the_standby_does_not_have_it(standby: tuple[System, Standby]) -> None:
    system, server = standby

    def found_alone() -> bool:
        with server.paused():
            patient, _, content = make_study()
            with connect(system, "SENDER", CTImageStorage) as sender:
                assert sender.send_c_store(pydicom.dcmread(io.BytesIO(content))).Status == 0
            assert finds(system, "SENDER", patient)
            return not finds(system, "OTHER", patient)

    until(found_alone)


@contextlib.contextmanager
def connect(system: System, title: str, context: Any) -> Iterator[Any]:
    """Open an association as an entity."""
    entity = AE(title)
    entity.add_requested_context(context)
    association = entity.associate("127.0.0.1", system.dicom, ae_title="SECTION5")
    assert association.is_established
    yield association
    association.release()


def finds(system: System, title: str, patient: str) -> bool:
    """Whether a C-FIND of an entity finds a patient's study."""
    model = StudyRootQueryRetrieveInformationModelFind
    with connect(system, title, model) as association:
        responses = list(association.send_c_find(identifier("STUDY", PatientID=patient), model))
    assert responses[-1][0].Status == 0
    return len(responses) > 1
