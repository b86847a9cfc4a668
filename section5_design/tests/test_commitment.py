"""Storage commitments: an entity that is silent delays only its own reports, and no report is sent twice."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from accounts.models import ApplicationEntity
from ingest.dimse.commitment import CommitmentReporter, claim_due, finish_report
from ingest.models import Commitment
from system import until

pytestmark = pytest.mark.django_db(transaction=True)


def request(title: str, port: int) -> Commitment:
    ApplicationEntity.objects.create(title=title, network="127.0.0.1", port=port)
    requested = [["1.2.840.10008.5.1.4.1.1.2", "1.2.3"]]
    commitment: Commitment = Commitment.objects.create(
        transaction_uid="1.2.9", application_entity=title, requested=requested
    )
    return commitment


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where somebody accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


@pytest.fixture
def modality() -> Iterator[tuple[int, list[str]]]:
    """The port of a modality, and the transactions that were reported to it."""
    reported: list[str] = []

    def handle(event: evt.Event) -> tuple[int, None]:
        reported.append(str(event.event_information.TransactionUID))
        return 0x0000, None

    entity = AE("MODALITY")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, handle)])
    assert server is not None
    yield server.socket.getsockname()[1], reported
    server.shutdown()


def test_silent_entities_do_not_delay_the_others(silent: int, modality: tuple[int, list[str]]) -> None:
    for number in range(5):
        request(f"SILENT{number}", silent)
    answered = request("MODALITY", modality[0])
    reporter = CommitmentReporter()
    reporter.run_once()
    until(lambda: Commitment.objects.get(pk=answered.pk).reported_at is not None, 8)
    assert modality[1] == ["1.2.9"]
    assert Commitment.objects.filter(reported_at=None).count() == 5
    reporter.close()


def test_one_of_many_reporters_gets_a_commitment() -> None:
    request("MODALITY", 104)

    def claim(_: int) -> Commitment | None:
        try:
            return claim_due()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sum(found is not None for found in pool.map(claim, range(8))) == 1


def test_a_commitment_that_is_being_reported_is_not_due() -> None:
    request("MODALITY", 104)
    assert claim_due() is not None
    assert claim_due() is None


def test_a_report_that_was_not_accepted_is_due_again_after_a_pause() -> None:
    request("MODALITY", 104)
    claimed = claim_due()
    assert claimed is not None
    finish_report(claimed, accepted=False)
    assert claim_due() is None
    Commitment.objects.update(next_at="2020-01-01T00:00Z")
    assert claim_due() is not None
