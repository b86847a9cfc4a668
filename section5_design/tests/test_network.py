"""Who may call, over what: peers by title and address, TLS and mutual TLS, storage commitment, floods and drips."""

import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    ModalityWorklistInformationFind,
    PatientRootQueryRetrieveInformationModelFind,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

from local import certificates
from people import Person, make_people
from system import SECTION, System, database, free_port, instance, listens, needs, until

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    certificates.make(folder, ["localhost", "127.0.0.1", "web"])
    return folder


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[System]:
    """Run a system that requires TLS, and client certificates of the CA for DICOM."""
    settings = {"TLS_CERTIFICATE": str(pki / "server.pem"), "TLS_KEY": str(pki / "server.key")}
    settings |= {"TLS_CLIENT_CA": str(pki / "ca.pem"), "TRUSTED_PROXIES": "127.0.0.1"}
    with (
        database(f"secure_{os.getpid()}") as url,
        System(tmp_path_factory.mktemp("secure"), url, **settings) as running,
    ):
        yield running


def manage(system: System, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SECTION / "manage.py"), *words]
    return subprocess.run(command, env=system.environment, capture_output=True, text=True, check=False)


def send(system: System, folder: Path, *options: str) -> tuple[str, int]:
    """Send an image by storescu: its UID, and how the program ended."""
    uid, content = instance()
    path = folder / "image.dcm"
    path.write_bytes(content)
    command = [needs("storescu", "dcmtk"), *options, "-aec", "SECTION5", "localhost", str(system.dicom), str(path)]
    return uid, subprocess.run(command, capture_output=True, check=False, timeout=60).returncode


def test_dicom_over_tls_is_accepted_with_a_client_certificate(secure: System, pki: Path, tmp_path: Path) -> None:
    tls = ("+tls", str(pki / "client.key"), str(pki / "client.pem"), "+cf", str(pki / "ca.pem"), "+ps")
    uid, status = send(secure, tmp_path, *tls)
    assert status == 0
    assert secure.wait_for(uid) == ("done", "")


def test_dicom_without_tls_or_certificate_is_refused(secure: System, pki: Path, tmp_path: Path) -> None:
    for options in ((), ("+tla", "+cf", str(pki / "ca.pem"))):
        uid, status = send(secure, tmp_path, *options)
        assert status != 0
        assert secure.state_of(uid) == ("", "")


def test_silent_connections_before_tls_do_not_block_others(secure: System, pki: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as silent:
        for _ in range(20):
            silent.enter_context(socket.create_connection(("127.0.0.1", secure.dicom)))
        tls = ("+tls", str(pki / "client.key"), str(pki / "client.pem"), "+cf", str(pki / "ca.pem"))
        assert send(secure, tmp_path, *tls)[1] == 0


@pytest.mark.parametrize(("version", "taken"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
@pytest.mark.parametrize("part", ["http", "dicom"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_only_tls_1_2_and_later_are_accepted(secure: System, pki: Path, part: str, version: str, taken: bool) -> None:
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    context.load_cert_chain(pki / "client.pem", pki / "client.key")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", getattr(secure, part))) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                agreed = connection.version()
                cipher = connection.cipher()
        except OSError:
            assert not taken
            return
    assert taken
    assert agreed == version.replace("_", ".")
    assert cipher
    assert re.search(r"GCM|CHACHA20", cipher[0])


def test_http_is_https_and_its_cookies_travel_over_nothing_else(secure: System, pki: Path) -> None:
    answer = requests.get(f"https://localhost:{secure.http}/login/", verify=str(pki / "ca.pem"), timeout=30)
    assert answer.status_code == 200
    assert "Secure" in answer.headers["Set-Cookie"]
    with pytest.raises(requests.RequestException):
        requests.get(f"http://localhost:{secure.http}/login/", timeout=30)


def test_http_requires_client_certificates_if_configured(secure: System, pki: Path) -> None:
    port = free_port()
    command = [sys.executable, str(SECTION / "main.py"), "web", "--port", str(port), "--processes", "1"]
    command += ["--client-ca", str(pki / "ca.pem")]
    with subprocess.Popen(command, env=secure.environment, stdout=secure.log, stderr=secure.log) as web:
        try:
            until(lambda: listens(port))
            address, ca = f"https://localhost:{port}/live", str(pki / "ca.pem")
            client = (str(pki / "client.pem"), str(pki / "client.key"))
            assert requests.get(address, verify=ca, cert=client, timeout=30).status_code == 200
            with pytest.raises(requests.RequestException):
                requests.get(address, verify=ca, timeout=30)
        finally:
            web.terminate()


def test_the_proxy_ends_slow_bodies_and_forwards_the_client_address(secure: System, pki: Path, tmp_path: Path) -> None:
    """deploy/nginx.conf.template, as its image fills it in."""
    nginx = needs("nginx", "nginx-light", path=os.environ["PATH"] + ":/usr/sbin")
    values = {"PORT": str(free_port()), "WEB": f"127.0.0.1:{secure.http}", "BODY_TIMEOUT": "1s"}
    values |= {"CERTIFICATE": str(pki / "server.pem"), "KEY": str(pki / "server.key"), "CA": str(pki / "ca.pem")}
    server = (SECTION / "deploy" / "nginx.conf.template").read_text()
    for name, value in values.items():
        server = server.replace(f"${{{name}}}", value)
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error;"
        f" events {{}} http {{ access_log off; {temporary} {server} }}"
    )
    command = [nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error")]
    make_people(secure, {"ana": ["submitters"]})
    with subprocess.Popen(command, stderr=secure.log) as running:
        try:
            port = int(values["PORT"])
            until(lambda: listens(port))
            context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
            with context.wrap_socket(
                socket.create_connection(("127.0.0.1", port)), server_hostname="localhost"
            ) as slow:
                slow.sendall(b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\na")
                slow.settimeout(20)
                assert slow.recv(1000)[:12] in (b"", b"HTTP/1.1 408")
            ana = Person(secure, base=f"https://localhost:{port}", verify=str(pki / "ca.pem"))
            ana.log_in("ana")
            uid, content = instance()
            assert ana.send(content).status_code == 302
            assert secure.wait_for(uid) == ("done", "")
            found = secure.query("SELECT address FROM audit_event WHERE kind = 'login'")
            assert found == [("127.0.0.1",)]
        finally:
            running.terminate()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with database(f"network_{os.getpid()}") as url, System(tmp_path_factory.mktemp("network"), url) as running:
        yield running


@contextlib.contextmanager
def peers(system: System, *added: tuple[str, ...]) -> Iterator[None]:
    """Allow only these application entities during the block. The receiver rereads them after 5 s."""
    for words in added:
        assert manage(system, "ae", "add", *words).returncode == 0
    system.kill("receiver")
    system.start("receiver")
    until(lambda: listens(system.dicom))
    try:
        yield
    finally:
        system.query("DELETE FROM accounts_applicationentity")
        system.kill("receiver")
        system.start("receiver")
        until(lambda: listens(system.dicom))


def test_only_known_application_entities_may_send(system: System, tmp_path: Path) -> None:
    with peers(system, ("CT1", "127.0.0.0/8"), ("ELSEWHERE", "10.1.2.3")):
        uid, status = send(system, tmp_path, "-aet", "CT1")
        assert status == 0
        assert system.wait_for(uid) == ("done", "")
        for title in ("CT2", "ELSEWHERE"):
            assert send(system, tmp_path, "-aet", title)[1] != 0
        found = system.query("SELECT actor, address FROM audit_event WHERE kind = 'rejected' ORDER BY id")
        assert found == [("dicom:CT2", "127.0.0.1"), ("dicom:ELSEWHERE", "127.0.0.1")]


def test_an_invalid_application_entity_is_reported(system: System) -> None:
    for words in (
        ("A" * 17, "10.0.0.1"),
        ("CT1", "nowhere"),
        ("CT1", "10.0.0.0/8", "--port", "104"),
        ("CT1", "10.0.0.1", "--port", "0"),
    ):
        done = manage(system, "ae", "add", *words)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
    assert manage(system, "ae", "remove", "NOBODY").returncode == 1


@contextlib.contextmanager
def modality(title: str) -> Iterator[tuple[int, list[tuple[int, Dataset]]]]:
    """Run a modality that listens for reports; yield its port and the reports."""
    told: list[tuple[int, Dataset]] = []

    def report(event: evt.Event) -> tuple[int, None]:
        told.append((event.event_type, event.event_information))
        return 0, None

    entity = AE(ae_title=title)
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, report)])
    try:
        yield port, told
    finally:
        server.shutdown()


def ask_commitment(system: System, title: str, *asked: tuple[str, str]) -> tuple[int, str]:
    """Ask whether instances are safe: the status of the N-ACTION, and the transaction's UID."""
    wanted = Dataset()
    wanted.TransactionUID = generate_uid()
    items = []
    for class_uid, instance_uid in asked:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, instance_uid
        items.append(item)
    wanted.ReferencedSOPSequence = Sequence(items)
    entity = AE(ae_title=title)
    entity.add_requested_context(StorageCommitmentPushModel)
    association = entity.associate("127.0.0.1", system.dicom, ae_title="SECTION5")
    assert association.is_established
    status, _ = association.send_n_action(wanted, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    association.release()
    return status.Status, str(wanted.TransactionUID)


def test_storage_commitment_reports_the_durable_images(system: System, tmp_path: Path) -> None:
    with modality("CT1") as (port, told), peers(system, ("CT1", "127.0.0.1", "--port", str(port))):
        good, altered = (send(system, tmp_path, "-aet", "CT1")[0] for _ in range(2))
        system.settle()
        ((sha256,),) = system.query("SELECT sha256 FROM archive_instance WHERE sop_instance_uid = %s", altered)
        path = system.folder / "store" / "objects" / sha256[:2] / sha256
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        asked = [(CT, good), (CT, altered), (CT, "1.2.3"), ("1.2.840.10008.5.1.4.1.1.4", good)]
        status, transaction = ask_commitment(system, "CT1", *asked)
        assert status == 0
        until(lambda: told)
        path.write_bytes(whole)
        kind, answer = told[0]
        assert (kind, answer.TransactionUID) == (2, transaction)
        assert [one.ReferencedSOPInstanceUID for one in answer.ReferencedSOPSequence] == [good]
        failed = {(one.ReferencedSOPInstanceUID, one.FailureReason) for one in answer.FailedSOPSequence}
        assert failed == {(altered, 0x0110), ("1.2.3", 0x0112), (good, 0x0119)}


def test_a_commitment_is_reported_when_the_modality_is_back(system: System, tmp_path: Path) -> None:
    with modality("CT1") as (port, _):
        pass
    with peers(system, ("CT1", "127.0.0.1", "--port", str(port))):
        uid, _ = send(system, tmp_path, "-aet", "CT1")
        ask_commitment(system, "CT1", (CT, uid))
        until(lambda: system.query("SELECT max(attempts) FROM ingest_commitment WHERE reported_at IS NULL")[0][0])
        with modality("CT1") as (again, told):
            manage(system, "ae", "add", "CT1", "127.0.0.1", "--port", str(again))
            until(lambda: told)
            assert told[0][0] == 1


def test_a_commitment_without_a_known_address_is_refused(system: System) -> None:
    assert ask_commitment(system, "UNKNOWN", (CT, "1.2.3"))[0] == 0x0110


def test_orthanc_gets_the_storage_commitment_it_requests(system: System, tmp_path: Path) -> None:
    program = needs("Orthanc", "orthanc", path=os.environ["PATH"] + ":/usr/sbin")
    web, dicom = free_port(), free_port()
    import json

    configuration = {"StorageDirectory": str(tmp_path), "HttpPort": web, "DicomPort": dicom, "Plugins": []}
    configuration |= {"AuthenticationEnabled": False, "DicomAet": "ORTHANC"}
    configuration |= {"DicomModalities": {"ours": ["SECTION5", "127.0.0.1", system.dicom]}}
    (tmp_path / "orthanc.json").write_text(json.dumps(configuration))
    command = [program, str(tmp_path / "orthanc.json")]
    uid, content = instance()
    with (
        peers(system, ("ORTHANC", "127.0.0.1", "--port", str(dicom))),
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
    ):
        try:
            until(lambda: listens(web) and listens(dicom))
            base = f"http://127.0.0.1:{web}"
            id_ = requests.post(f"{base}/instances", content, timeout=30).json()["ID"]
            requests.post(f"{base}/modalities/ours/store", id_, timeout=30).raise_for_status()
            system.wait_for(uid)
            asked = requests.post(
                f"{base}/modalities/ours/storage-commitment", json={"DicomInstances": [[CT, uid]]}, timeout=30
            )
            path = base + asked.json()["Path"]
            until(lambda: requests.get(path, timeout=30).json()["Status"] != "Pending")
            told = requests.get(path, timeout=30).json()
            assert told["Status"] == "Success"
            assert [one["SOPInstanceUID"] for one in told["Success"]] == [uid]
        finally:
            process.terminate()


def test_hostile_files_are_refused_or_quarantined(system: System) -> None:
    nested = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    good = instance()[1]
    refused = {
        "a program": b"MZ" + good[2:],
        "sequences without end": good[: good.index(b"\x08\x00\x05\x00")] + nested * 100_000,
        "a length beyond the file": good[:-1000],
        "a path": instance()[1].replace(
            b"1.3.6.1.4.1.5962.1.2.1.20040119072730.12322", b"../../../../../../../../../../../etc/passwd"
        ),
    }
    for content in refused.values():
        assert system.post(content).status == 409
    claims, content = instance(Rows=65535, Columns=65535, NumberOfFrames=1000)
    assert system.post(content).status == 200
    uid, content = instance()
    system.post(content)
    assert system.wait_for(uid) == ("done", "")
    _, reason = system.wait_for(claims, "quarantined")
    assert "claims 8,589,672,450 bytes a frame" in reason


def test_a_thousand_connections_do_not_block_others(system: System, tmp_path: Path) -> None:
    """Half of the places at most are one address's: the flood comes from 127.0.0.2."""
    with contextlib.ExitStack() as flood:
        for _ in range(1000):
            with contextlib.suppress(OSError):
                flood.enter_context(
                    socket.create_connection(("127.0.0.1", system.dicom), 5, source_address=("127.0.0.2", 0))
                )
        started = time.monotonic()
        uid, status = send(system, tmp_path)
        assert status == 0
        assert system.wait_for(uid) == ("done", "")
        assert time.monotonic() - started < 50  # a queued association is rejected after 60


def test_trickling_associations_do_not_block_others(system: System, tmp_path: Path) -> None:
    entity = AE(ae_title="SLOW")
    entity.add_requested_context(Verification)
    held: list[Association] = []

    def holds_one_more() -> bool:
        one = entity.associate("127.0.0.1", system.dicom, ae_title="SECTION5")
        held.extend([one] if one.is_established else [])
        return len(held) == 10

    until(holds_one_more)
    for one in held:
        one.dul.socket.socket.sendall(b"\x04\x00\x00\x01\x00\x00")  # a P-DATA PDU of which the rest never comes
    uid, status = send(system, tmp_path)
    assert status == 0
    assert system.wait_for(uid) == ("done", "")
    for one in held:
        one.abort()


def test_slow_http_clients_do_not_block_others(system: System) -> None:
    login = f"http://127.0.0.1:{system.http}/login/"
    cookie = requests.get(login, timeout=30).headers["Set-Cookie"].partition(";")[0]
    start = f"POST /login/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n".encode()
    body = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\na"
    with contextlib.ExitStack() as slow:
        for number in range(200):
            connection = slow.enter_context(socket.create_connection(("127.0.0.1", system.http)))
            connection.sendall(start + (body if number % 2 else b""))
        until(
            lambda: system.ask("POST", "/login/", b"a", Content_Type="application/x-www-form-urlencoded").status == 503
        )
        done = []

        def look() -> None:
            done.append(system.ask("GET", "/login/").status)

        looks = [threading.Thread(target=look) for _ in range(20)]
        for one in looks:
            one.start()
        for one in looks:
            one.join()
        assert done == [200] * 20
    uid, content = instance()
    until(lambda: system.post(content).status == 200)
    assert system.wait_for(uid) == ("done", "")


def test_a_worklist_query_is_not_accepted(system: System) -> None:
    entity = AE(ae_title="WORKLIST")
    for context in (Verification, ModalityWorklistInformationFind, PatientRootQueryRetrieveInformationModelFind):
        entity.add_requested_context(context)
    entity.add_requested_context("1.2.826.0.1.3680043.9.9999.1")  # a private storage class
    association = entity.associate("127.0.0.1", system.dicom, ae_title="SECTION5")
    accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
    association.release()
    assert accepted == {Verification, PatientRootQueryRetrieveInformationModelFind, "1.2.826.0.1.3680043.9.9999.1"}


def test_open_pages_and_slow_bodies_leave_threads_for_others(system: System) -> None:
    head = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    body = b"Content-Type: application/dicom\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100
    make_people(system, {"watcher": ["readers"]})
    watcher = Person(system, "watcher")
    cookie = f"Cookie: {watcher.headers()['Cookie']}\r\n\r\n".encode()
    requests = [b"GET /events" + head + cookie] * 500 + [b"POST /dicom-web/studies" + head + body] * 100
    with contextlib.ExitStack() as opened:
        for request in requests:
            client = opened.enter_context(socket.create_connection(("127.0.0.1", system.http), timeout=60))
            client.sendall(request)
        assert system.ask("GET", "/live").status == 200
        assert watcher.get("/").status_code == 200
