"""Deliveries: what is sent where, to real receivers, and what becomes of it when they refuse, hang or die."""

import base64
import hashlib
import hmac
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

from accounts.services import create_token
from archive.erasure import erase_study
from archive.models import Instance, Study
from delivery import dicom, handler, http
from delivery.connections import hold_connection
from delivery.models import Delivery, Destination, Rule
from delivery.routing import KIND
from delivery.services import list_deliveries, preview_rule, resend, save_destination, save_rule, send_stored
from jobs import tasks
from jobs.models import Job
from orthanc import Orthanc
from pipeline import announce, make_due, query, run_due, run_jobs, send, send_series
from system import free_port, instance, listens, needs, until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("local_store"),
    # pynetdicom leaves the socket of a refused connection to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
Port = int


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a silent destination for two seconds, and pause for none."""
    monkeypatch.setattr(dicom, "ANSWER_SECONDS", 2)
    monkeypatch.setattr(dicom, "CONNECT_SECONDS", 2)
    monkeypatch.setattr(http, "ANSWER_SECONDS", 2)
    monkeypatch.setattr(handler, "MAX_PAUSE", 0)


def to_dicom(port: int, **rule: Any) -> Destination:
    one = Destination(name="pacs", kind="dicom", title="PACS", host="127.0.0.1", port=port)
    return with_rule(one, **rule)


def to_url(kind: str, url: str, **rule: Any) -> Destination:
    return with_rule(Destination(name="web", kind=kind, url=url), **rule)


def with_rule(destination: Destination, **rule: Any) -> Destination:
    save_destination(destination, "person:test", "token" if destination.kind == "stow" else "")
    save_rule(Rule(destination=destination, **rule), "person:test")
    return destination


def states() -> list[tuple[str, str]]:
    """State and reason of every delivery."""
    return [(one.state, one.reason) for one in list_deliveries().order_by("pk")]


def sent() -> list[str]:
    """The instances that were delivered."""
    found = Delivery.objects.filter(delivered_at__isnull=False).values_list("instance__sop_instance_uid", flat=True)
    return sorted(found)


def attempt() -> None:
    """Announce what was stored, and run each job at most once."""
    announce()
    make_due()
    run_due()


@contextmanager
def receiver(status: int | None, *, sop_class: Any = CTImageStorage) -> Iterator[Port]:
    """A DICOM receiver that answers each C-STORE with a status, or hangs up."""

    def answer(event: evt.Event) -> int:
        if status is None:
            event.assoc.abort()
        return status or 0

    ae = AE("PACS")
    ae.add_supported_context(sop_class)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    assert server
    yield server.socket.getsockname()[1]
    server.shutdown()


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[tuple[Port, Path]]:
    """DCMTK's storescp: its port, and the folder where it writes."""
    port, folder = free_port(), tmp_path / "received"
    folder.mkdir()
    command = [needs("storescp", "dcmtk"), "--accept-all", "+B", "-od", str(folder), str(port)]
    with subprocess.Popen(command) as process:
        until(lambda: listens(port))
        yield port, folder
        process.kill()


def test_dcmtk_receives_every_byte_of_the_data_set(storescp: tuple[Port, Path]) -> None:
    port, folder = storescp
    to_dicom(port)
    contents = [instance(name)[1] for name in ("CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm")]
    for content in contents:
        send(content)
    run_jobs()
    assert states() == [("done", "")] * 3
    assert {data_set(path.read_bytes()) for path in folder.iterdir()} == {data_set(one) for one in contents}
    assert query("SELECT DISTINCT detail FROM audit_event WHERE kind = 'delivered'") == [("to pacs",)]


def data_set(content: bytes) -> bytes:
    """A file without its file meta information (PS3.10, 7.1)."""
    return content[144 + int.from_bytes(content[140:144], "little") :]


def test_stow_service_receives_the_same_bytes(live_server: Any) -> None:
    destination = Destination(name="web", kind="stow", url=f"{live_server.url}/dicom-web")
    save_destination(destination, "person:test", create_token("another", "person:test"))
    save_rule(Rule(destination=destination), "person:test")
    (one,) = send_series(1)
    run_jobs()
    assert states() == [("done", "")]
    assert list(Instance.objects.values_list("pk", "conflict")) == [(one.instance_id, False)]
    sources = query("SELECT source FROM accounts_submission WHERE instance_id = %s ORDER BY id", one.instance_id)
    assert sources == [("folder:test",), ("http:another",)]


Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@contextmanager
def web(answer: Answer) -> Iterator[str]:
    """An HTTP server that answers as a function says: its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    thread.join()
    server.server_close()


def respond(status: int, body: bytes = b"", length: int | None = None) -> Answer:
    def answer(request: BaseHTTPRequestHandler, _: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        request.end_headers()
        request.wfile.write(body)

    return answer


def test_webhook_is_signed_and_names_no_patient() -> None:
    requests = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        requests.append((dict(request.headers), body))
        respond(204)(request, body)

    with web(answer) as url:
        destination = Destination(name="hook", kind="webhook", url=url)
        key = save_destination(destination, "person:test")
        save_rule(Rule(destination=destination), "person:test")
        (one,) = send_series(1)
        run_jobs()
    ((headers, body),) = requests
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.digest(base64.b64decode(key.removeprefix("whsec_")), signed, hashlib.sha256)
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert json.loads(body)["sop_instance_uid"] == one.header.sop_instance_uid
    assert one.header.study["patient_name"].encode() not in body
    assert b"whsec_" not in bytes(Destination.objects.get().secret)


OTHER = "0008119A"  # Other Failures Sequence


def refused_by_stow(reason: int, sequence: str = "00081198") -> bytes:
    return json.dumps({sequence: {"Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}}).encode()


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (respond(400), "quarantined", "web answered HTTP 400"),
        (respond(302), "quarantined", "web answered HTTP 302"),
        (respond(409, refused_by_stow(0x0122)), "quarantined", "web refused the instance (HTTP 409, reason 0122)"),
        (respond(202, refused_by_stow(0xC000)), "quarantined", "web refused the instance (HTTP 202, reason C000)"),
        (
            respond(409, refused_by_stow(0x0110, OTHER)),
            "quarantined",
            "web refused the instance (HTTP 409, reason 0110)",
        ),
        (respond(202, refused_by_stow(0xA700)), "queued", "web is out of resources (reason A700)"),
        (respond(503), "queued", "web answered HTTP 503"),
        (respond(429), "queued", "web answered HTTP 429"),
        (respond(200, b"{", length=100), "queued", "web cannot be reached, or did not answer completely"),
        (lambda *_: None, "queued", "web cannot be reached, or did not answer completely (RemoteDisconnected)"),
    ],
)
def test_http_answers_are_retried_or_quarantined(answer: Answer, state: str, reason: str) -> None:
    with web(answer) as url:
        to_url("stow", url)
        send_series(1)
        attempt()
    ((found, why),) = states()
    assert (found, why[: len(reason)]) == (state, reason)


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        (0x0000, "done", ""),
        (0xB000, "done", ""),
        (0xA700, "queued", "pacs is out of resources (status A700)"),
        (0xA900, "quarantined", "pacs refused the instance (status A900)"),
        (0xC000, "quarantined", "pacs refused the instance (status C000)"),
        (None, "queued", "pacs did not answer"),
    ],
)
def test_dicom_answers_are_retried_or_quarantined(status: int | None, state: str, reason: str) -> None:
    with receiver(status) as port:
        to_dicom(port)
        send_series(1)
        attempt()
    assert states() == [(state, reason)]


def test_sop_class_that_is_not_accepted_is_quarantined() -> None:
    with receiver(0, sop_class=Verification) as port:
        to_dicom(port)
        send_series(1)
        attempt()
    assert states() == [("quarantined", "pacs does not accept the SOP class in the stored transfer syntax")]


@pytest.fixture
def silent() -> Iterator[Port]:
    """A port where somebody accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("kind", ["dicom", "stow", "webhook"])
def test_destination_that_hangs_delays_only_its_own_deliveries(silent: Port, kind: str) -> None:
    if kind == "dicom":
        to_dicom(silent)
    else:
        to_url(kind, f"http://127.0.0.1:{silent}/")
    with receiver(0) as port:
        other = Destination(name="other", kind="dicom", title="OTHER", host="127.0.0.1", port=port)
        with_rule(other)
        send_series(1)
        attempt()
    assert Delivery.objects.get(delivered_at__isnull=False).destination == other
    assert Job.objects.filter(kind=KIND).exclude(state="done").values_list("state", "attempts").get() == ("queued", 1)


def test_paused_destination_costs_its_deliveries_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "MAX_PAUSE", 300)
    to_dicom(free_port())  # where nobody listens
    send_series(3)
    attempt()
    attempt()
    assert sorted(Job.objects.filter(kind=KIND).values_list("attempts", flat=True)) == [0, 0, 1]
    assert Destination.objects.get().failures == 1


def test_deliveries_of_a_batch_share_an_association(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_claim_size", 16)
    with receiver(0) as port:
        associate = Mock(wraps=dicom.associate)
        monkeypatch.setattr(dicom, "associate", associate)
        to_dicom(port)
        send_series(4)
        send(instance("JPEG2000.dcm")[1])  # refused, and the others go on
        send_series(2)
        attempt()
    assert associate.call_count == 1
    assert [state for state, _ in states()] == ["done"] * 4 + ["quarantined"] + ["done"] * 2
    own = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    assert query(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = {own}") == [(0,)]


def test_connections_to_a_destination_are_limited(storescp: tuple[Port, Path]) -> None:
    destination = to_dicom(storescp[0])
    Destination.objects.update(connections=1)
    destination.refresh_from_db()
    send_series(1)
    held, done = threading.Event(), threading.Event()

    def occupy() -> None:
        from django.db import connections

        with hold_connection(destination):
            held.set()
            done.wait(60)
        connections.close_all()

    thread = threading.Thread(target=occupy)
    thread.start()
    assert held.wait(60)
    attempt()
    assert Job.objects.values_list("state", "attempts").get(kind=KIND) == ("queued", 0)
    done.set()
    thread.join()
    run_jobs()
    assert states() == [("done", "")]


def test_orthanc_that_is_killed_in_between_has_each_instance_once(tmp_path: Path) -> None:
    with Orthanc(tmp_path) as orthanc:
        to_dicom(orthanc.dicom)
        for _ in range(3):
            send_series(3)
            announce()
            make_due()
            query("UPDATE jobs_job SET state = 'running' WHERE kind = 'delivery' AND mod(id, 3) = 0 RETURNING id")
            run_due()
            orthanc.kill()
            query("UPDATE jobs_job SET state = 'queued' WHERE state = 'running' RETURNING id")
            make_due()
            run_due()
            orthanc.start()
        Job.objects.filter(kind=KIND, subject=Delivery.objects.earliest("pk").pk).update(state="queued")  # sent twice
        run_jobs()
        assert orthanc.instances() == sent() == sorted(Instance.objects.values_list("sop_instance_uid", flat=True))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, ["CT", "MR"]),
        ({"modality": "CT"}, ["CT"]),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.4"}, ["MR"]),
        ({"source_modality": "CT"}, ["CT"]),
        ({"analysis": "nodules"}, ["SR"]),
        ({"analysis": "*"}, ["SR"]),
        ({"analysis": "other"}, []),
        ({"analysis": "nodules", "modality": "SR", "source_modality": "CT"}, ["SR"]),
        ({"analysis": "nodules", "source_modality": "MR"}, []),
    ],
)
def test_rule_selects(rule: dict[str, str], expected: list[str]) -> None:
    with_rule(Destination(name="pacs", kind="dicom", title="PACS", host="127.0.0.1", port=104), **rule)
    study = send(instance()[1]).header.study_uid
    send(instance("MR_small.dcm")[1])
    send(instance("reportsi.dcm", StudyInstanceUID=study)[1], "analysis:nodules")
    send(instance("CT_small.dcm", StudyInstanceUID=study)[1], "dicom:PACS")  # never sent back
    announce()
    assert sorted(Delivery.objects.values_list("instance__series__modality", flat=True)) == expected
    preview = preview_rule(Rule.objects.get())
    assert (preview.selected, preview.delivered) == (len(expected), len(expected))


def test_instance_that_two_rules_select_is_sent_once() -> None:
    destination = to_dicom(104)
    save_rule(Rule(destination=destination, modality="CT"), "person:test")
    send_series(1)
    announce()
    assert Delivery.objects.count() == 1


def test_dry_run_sends_nothing_and_what_is_stored_can_be_sent(storescp: tuple[Port, Path]) -> None:
    send_series(2)
    run_jobs()
    to_dicom(storescp[0])
    rule = Rule.objects.get()
    preview = preview_rule(rule)
    assert (preview.selected, preview.delivered, len(preview.examples)) == (2, 0, 2)
    run_jobs()
    assert not Delivery.objects.exists()
    assert [send_stored(rule, "person:test"), send_stored(rule, "person:test")] == [2, 0]
    run_jobs()
    assert states() == [("done", "")] * 2


@pytest.mark.parametrize("status", [0xA900, 0x0000], ids=["quarantined", "delivered"])
def test_delivery_is_sent_again_by_hand(status: int, storescp: tuple[Port, Path]) -> None:
    with receiver(status) as port:
        to_dicom(port)
        send_series(1)
        attempt()
    Destination.objects.update(port=storescp[0])
    resend(Delivery.objects.get(), "person:test")
    run_jobs()
    assert states() == [("done", "")]
    assert len(list(storescp[1].iterdir())) == 1
    assert ("requeued", "person:test") in query("SELECT kind, actor FROM audit_event ORDER BY id DESC LIMIT 9")


def test_disabled_rules_and_destinations_send_nothing() -> None:
    to_dicom(104)
    Rule.objects.update(enabled=False)
    send_series(1)
    announce()
    assert not Delivery.objects.exists()


def test_erasing_a_study_deletes_its_deliveries() -> None:
    to_dicom(104)
    send_series(1)
    announce()
    erase_study(Study.objects.get(), "person:test", "test")
    assert [model.objects.count() for model in (Delivery, Job)] == [0, 0]


def test_commands_set_destinations_and_rules(capsys: pytest.CaptureFixture[str]) -> None:
    send_series(1)
    announce()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = str(server.getsockname()[1])
        call_command("delivery", "to", "pacs", "--dicom", "PACS", "127.0.0.1", port)
        call_command("delivery", "rule", "pacs", "--modality", "CT", "--dry-run")
        call_command("delivery", "rule", "pacs", "--modality", "CT")
        rule = Rule.objects.get()
        call_command("delivery", "send", str(rule.pk))
        capsys.readouterr()
        call_command("delivery", "list")
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == [f"pacs\tdicom\tPACS@127.0.0.1:{port}", f"rule {rule.pk}\t{rule}"]
        assert lines[2].endswith("-> pacs\tqueued")
        call_command("delivery", "remove", "pacs")
    assert [model.objects.count() for model in (Destination, Rule, Delivery)] == [0, 0, 0]
    assert not Job.objects.filter(kind=KIND).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["to", "a b", "--stow", "http://x"], "valid value"),
        (["to", "pacs", "--dicom", "PACS", "host", "x"], "integer"),
        (["to", "pacs", "--dicom", "A TITLE THAT IS TOO LONG", "host", "104"], "at most 16"),
        (["to", "pacs", "--stow", "ftp://x"], "URL"),
        (["rule", "nowhere"], "no destination 'nowhere'"),
        (["send", "99"], "no rule 99"),
        (["resend", "99"], "do not exist"),
        (["resend"], "name deliveries"),
        (["remove", "99"], "no rule 99"),
    ],
)
def test_wrong_usage_of_a_command_is_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("delivery", *arguments)


def test_an_operator_adds_destinations_and_rules_on_the_page(client: Client) -> None:
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    answer = client.post(
        "/deliveries/", {"form": "destination", "name": "hook", "kind": "webhook", "url": "https://x.org/"}
    )
    assert "whsec_" in answer.content.decode()
    client.post("/deliveries/", {"form": "rule", "destination": Destination.objects.get().pk, "modality": "CT"})
    send_series(1)
    announce()
    rule = f"/deliveries/rules/{Rule.objects.get().pk}"
    answer = client.post(rule, {"action": "try"}, follow=True)
    assert "1 stored images match; 1 of them are sent or queued already" in answer.content.decode()
    Job.objects.filter(kind=KIND).update(state="done")
    client.post(f"/deliveries/{Delivery.objects.get().pk}/resend")
    assert Job.objects.get(kind=KIND).state == "queued"
    assert query("SELECT count(*) FROM audit_event WHERE kind = 'destination' AND actor = 'user:root'") == [(2,)]
