"""Lists are read from a standby of the database; whoever just sent something sees it, and no fault of it shows."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2
import pytest

from local.embedded_postgres import EmbeddedPostgres
from people import Person, make_people
from system import System, instance, until

STUDIES = "/dicom-web/studies"


class Standby(EmbeddedPostgres):
    """A streaming standby of an embedded server."""

    def __enter__(self) -> "Standby":
        self.start()
        return self

    def __init__(self, folder: Path, primary: EmbeddedPostgres) -> None:
        super().__init__(folder)
        self._make_folder(self.folder)
        self._bin = self._binaries()
        parts = urlsplit(primary.url)
        source = f"host={unquote(parts.hostname or '')} user={parts.username} password={parts.password}"
        self._run("pg_basebackup", "-D", self._data, "-d", source, "-R", "--checkpoint=fast")
        shutil.copy2(primary.folder / "password", self.folder)

    def run(self, statement: str) -> None:
        with contextlib.closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Receive what the primary writes, and do not apply it."""
        self.run("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            self.run("SELECT pg_wal_replay_resume()")


@pytest.fixture(scope="module")
def standby(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Standby]]:
    """A system with a standby, an operator and a sender."""
    folder = tmp_path_factory.mktemp("servers")
    for parent in (folder, folder.parent):  # if root runs the tests, the servers run as `nobody`
        parent.chmod(0o755)
    (folder / "system").mkdir()
    with (
        EmbeddedPostgres(folder / "primary") as primary,
        Standby(folder / "standby", primary) as server,
        System(folder / "system", primary.url, STANDBY_URL=server.url) as system,
    ):
        make_people(system, {"sender": ["submitters"], "operator": ["operators"]})
        yield system, server


def send_study(sender: Person) -> str:
    """Send a study, and return its patient's ID."""
    uid, content = instance()
    patient = uid[-16:]
    uid, content = instance(PatientID=patient, StudyInstanceUID=uid)
    assert sender.send(content).status_code == 302
    return patient


def sees(person: Person, patient: str) -> bool:
    """Whether the list of studies and QIDO-RS show a patient."""
    page, found = person.get("/"), person.get(f"{STUDIES}?PatientID={patient}")
    assert (page.status_code, found.status_code in (200, 204)) == (200, True)
    return patient in page.text and found.status_code == 200


def test_the_sender_sees_a_study_that_the_standby_does_not_have_yet(standby: tuple[System, Standby]) -> None:
    system, server = standby
    sender, operator = Person(system, "sender"), Person(system, "operator")

    def sent_alone() -> bool:
        """Send while the standby stands still; whether only the sender sees it, unless that took too long."""
        with server.paused():
            patient = send_study(sender)
            assert sees(sender, patient)
            return not sees(operator, patient)

    until(sent_alone)


def test_everybody_sees_a_study_that_a_standby_far_behind_does_not_have(standby: tuple[System, Standby]) -> None:
    system, server = standby
    sender, operator = Person(system, "sender"), Person(system, "operator")

    def seen_late() -> bool:
        with server.paused():
            patient = send_study(sender)
            if sees(operator, patient):
                return False
            until(lambda: sees(operator, patient))
            return True

    until(seen_late)


def test_lists_are_read_from_the_primary_while_the_standby_is_down(standby: tuple[System, Standby]) -> None:
    system, server = standby
    sender, operator = Person(system, "sender"), Person(system, "operator")
    server.stop()
    try:
        patient = send_study(sender)
        assert sees(sender, patient)
        assert sees(operator, patient)
    finally:
        server.start()
