"""What people send: with the form, by tus, in archives."""

import contextlib
import http.client
import io
import os
import re
import struct
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from tusclient.client import TusClient

from people import Person, make_people
from system import OVER_HTTP, System, database, instance, until

VERSION = {"Tus-Resumable": "1.0.0"}
OCTETS = {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with (
        database(f"sending_{os.getpid()}") as url,
        System(tmp_path_factory.mktemp("sending"), url, OVER_HTTP) as running,
    ):
        make_people(running, {"ana": ["submitters"], "ben": ["submitters"]})
        yield running


@pytest.fixture(scope="module")
def ana(system: System) -> Person:
    return Person(system, "ana")


def items(system: System) -> dict[str, tuple[str, str]]:
    """State and reason of every file sent so far, by its name."""
    return {
        name: (state, reason)
        for name, state, reason in system.query("SELECT name, state, reason FROM uploads_uploadfile")
    }


def tus(person: Person, content: bytes, name: str, part: int = 10_000) -> str:
    client = TusClient(f"{person.base}/files/", headers=person.headers())
    uploader = client.uploader(file_stream=io.BytesIO(content), chunk_size=part, metadata={"filename": name})
    uploader.upload()
    return str(uploader.url)


def create(person: Person, size: int, name: str = "file") -> str:
    """An upload of which nothing is here yet: its address."""
    metadata = "filename " + __import__("base64").b64encode(name.encode()).decode()
    headers = person.headers() | VERSION | {"Upload-Length": str(size), "Upload-Metadata": metadata}
    answer = requests.post(f"{person.base}/files/", headers=headers, timeout=60)
    assert answer.status_code == 201
    return person.base + answer.headers["Location"]


def patch(person: Person, address: str, content: bytes, offset: int) -> requests.Response:
    headers = person.headers() | VERSION | OCTETS | {"Upload-Offset": str(offset)}
    return requests.patch(address, data=content, headers=headers, timeout=60)


def head(person: Person, address: str) -> requests.Response:
    return requests.head(address, headers=person.headers() | VERSION, timeout=60)


def test_the_form_takes_files_without_a_script(system: System, ana: Person) -> None:
    uid, content = instance()
    answer = ana.send(content, b"no image")
    page = ana.get(answer.headers["Location"]).text
    assert "Accepted" in page
    assert "not a DICOM file" in page
    assert system.wait_for(uid) == ("done", "")


def test_a_tus_client_sends_in_parts(system: System, ana: Person) -> None:
    uid, content = instance()
    tus(ana, content, "in parts.dcm")
    assert items(system)["in parts.dcm"] == ("new", "")
    assert system.wait_for(uid) == ("done", "")


def test_a_tus_client_resumes_after_the_server_was_killed(system: System, ana: Person) -> None:
    uid, content = instance()
    address = create(ana, len(content), "resumed.dcm")
    assert patch(ana, address, content[:15_000], 0).status_code == 204
    system.kill("web")
    system.start("web")
    until(lambda: not refused(ana))
    assert head(ana, address).headers["Upload-Offset"] == "15000"
    client = TusClient(f"{ana.base}/files/", headers=ana.headers())
    client.uploader(file_stream=io.BytesIO(content), url=address, chunk_size=8_000).upload()
    assert system.wait_for(uid) == ("done", "")


def refused(person: Person) -> bool:
    try:
        return person.get("/live").status_code != 200
    except requests.ConnectionError:
        return True


def test_a_broken_connection_keeps_the_received_bytes(system: System, ana: Person) -> None:
    uid, content = instance()
    address = create(ana, len(content), "broken line.dcm")

    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", system.http)) as client:
        client.putrequest("PATCH", address.removeprefix(ana.base))
        headers = ana.headers() | VERSION | OCTETS | {"Upload-Offset": "0", "Content-Length": str(len(content))}
        for name, value in headers.items():
            client.putheader(name, value)
        client.endheaders()
        client.send(content[:20_000])
    until(lambda: head(ana, address).headers["Upload-Offset"] != "0")
    offset = int(head(ana, address).headers["Upload-Offset"])
    assert patch(ana, address, content[offset:], offset).status_code == 204
    assert system.wait_for(uid) == ("done", "")
    assert "Traceback" not in (system.folder / "log").read_text()


def test_a_wrong_offset_is_409_and_a_surplus_413(ana: Person) -> None:
    address = create(ana, 100)
    assert patch(ana, address, b"12345", 50).status_code == 409
    assert patch(ana, address, b"1" * 200, 0).status_code == 413


def test_required_tus_headers_are_enforced(ana: Person) -> None:
    address = create(ana, 100)
    headers = ana.headers()
    assert requests.head(address, headers=headers, timeout=60).status_code == 412
    assert requests.patch(address, headers=headers | VERSION, data=b"1", timeout=60).status_code == 415
    assert patch(ana, address, b"1", 0).headers["Tus-Resumable"] == "1.0.0"
    for bad in (
        {},
        {"Upload-Length": "-1"},
        {"Upload-Length": "x"},
        {"Upload-Length": "9", "Upload-Metadata": "filename ***"},
    ):
        assert requests.post(f"{ana.base}/files/", headers=headers | VERSION | bad, timeout=60).status_code == 400
    huge = headers | VERSION | {"Upload-Length": str(1 << 40)}
    assert requests.post(f"{ana.base}/files/", headers=huge, timeout=60).status_code == 413
    told = requests.options(f"{ana.base}/files/", headers=headers, timeout=60)
    assert (told.status_code, told.headers["Tus-Extension"]) == (204, "creation,creation-with-upload,termination")


def test_a_cancelled_upload_leaves_nothing(system: System, ana: Person) -> None:
    address = create(ana, 100, "cancelled.dcm")
    patch(ana, address, b"1" * 50, 0)
    assert requests.delete(address, headers=ana.headers() | VERSION, timeout=60).status_code == 204
    assert head(ana, address).status_code == 404
    assert not (system.folder / "uploads" / address.rpartition("/")[2].replace("-", "")).exists()


def test_only_its_owner_resumes_an_upload(system: System, ana: Person) -> None:
    address = create(ana, 100)
    ben = Person(system, "ben")
    assert head(ben, address).status_code == 404
    assert patch(ben, address, b"1", 0).status_code == 404


def test_files_of_an_upload_do_not_wait_for_each_other(system: System, ana: Person) -> None:
    slow = create(ana, 100_000, "slow.dcm")
    go_on = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"1" * 1000
        go_on.wait(60)
        yield b"1" * 1000

    sending = threading.Thread(
        target=lambda: requests.patch(
            slow, data=slowly(), headers=ana.headers() | VERSION | OCTETS | {"Upload-Offset": "0"}, timeout=60
        )
    )
    sending.start()
    try:
        uid, content = instance()
        tus(Person(system, "ben"), content, "meanwhile.dcm")
        assert system.wait_for(uid) == ("done", "")
    finally:
        go_on.set()
        sending.join()


def archive(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name.replace("__", "/"), content)
    return target.getvalue()


def test_a_zip_is_extracted_with_a_reason_per_refused_file(system: System, ana: Person) -> None:
    uid, content = instance()
    tus(ana, archive(CT__one=content, notes=b"hello"), "study.zip", 1 << 20)
    found = items(system)
    assert found["study.zip"][0] == "extracted"
    assert found["study.zip/CT/one"] == ("new", "")
    assert found["study.zip/notes"] == ("refused", "not a DICOM file (no DICM prefix at byte 128)")
    assert system.wait_for(uid) == ("done", "")


def test_a_zip_is_extracted_once(system: System, ana: Person) -> None:
    content = archive(**{f"m{number:02}": instance()[1] for number in range(40)})
    address = create(ana, len(content), "forty.zip")
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(patch, ana, address, content, 0)
        while not sending.done():
            if head(ana, address).headers.get("Upload-Offset") == str(len(content)):
                assert items(system)["forty.zip"][0] == "extracted", "reported as received before it was stored"
    assert sending.result().status_code == 204
    members = system.query("SELECT count(*) FROM uploads_uploadfile WHERE name LIKE 'forty.zip/%%'")
    assert members == [(40,)]


def test_a_zip_with_path_traversal_writes_nothing_outside(system: System, ana: Person) -> None:
    target = io.BytesIO()
    uid, content = instance()
    with zipfile.ZipFile(target, "w") as made:
        made.writestr("../../../../tmp/climbed.dcm", content)
        made.writestr("/climbed.dcm", content)
    tus(ana, target.getvalue(), "slip.zip", 1 << 20)
    assert not Path("/tmp/climbed.dcm").exists()
    assert not Path("/climbed.dcm").exists()
    assert system.wait_for(uid) == ("done", "")


def test_a_zip_bomb_is_refused(system: System, ana: Person) -> None:
    tus(ana, archive(bomb=b"\0" * (300 << 20)), "bomb.zip", 1 << 20)
    assert items(system)["bomb.zip/bomb"] == ("refused", "is more than 200 times as large as its compressed form")
    assert not system.spooled()


def test_a_corrupt_zip_is_refused(system: System, ana: Person) -> None:
    whole = archive(one=instance()[1])
    encrypted = bytearray(whole)
    encrypted[6] |= 1
    place = encrypted.index(b"PK\1\2")
    encrypted[place + 8] |= 1
    tus(ana, bytes(encrypted), "locked.zip", 1 << 20)
    assert items(system)["locked.zip/one"] == ("refused", "is encrypted")
    broken = bytearray(whole)
    broken[200:400] = b"x" * 200
    tus(ana, bytes(broken), "broken.zip", 1 << 20)
    assert items(system)["broken.zip/one"] == ("refused", "is corrupt inside its ZIP file")
    claims = bytearray(whole)
    struct.pack_into("<H", claims, claims.index(b"PK\1\2") + 10, 99)  # an unknown method
    tus(ana, bytes(claims), "method.zip", 1 << 20)
    assert items(system)["method.zip/one"][0] == "refused"


def test_file_names_are_only_displayed(system: System, ana: Person) -> None:
    uid, content = instance()
    tus(ana, content, "<img src=x onerror=alert(1)>.dcm")
    system.wait_for(uid)
    ((upload,),) = system.query("SELECT max(upload_id) FROM uploads_uploadfile")
    page = ana.get(f"/uploads/{upload}/").text
    assert "<img src=x" not in page
    assert re.search(r"&lt;img src=x", page)
