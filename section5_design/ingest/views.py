"""STOW-RS (PS3.18, 10.5): store instances over HTTP. Many in multipart/related, or one as application/dicom."""

import logging
from collections.abc import Iterator
from typing import IO, Any
from xml.etree import ElementTree as ET

import orjson
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from archive.spool import Spooled, StorageFullError, spooled
from ingest.accept import Accepted, accept
from ingest.multipart import MultipartError, PartEnd, PartStart, boundary_of, pieces
from ingest.senders import UnknownSenderError, sender_of
from ingest.validation import RefusedError

log = logging.getLogger("section5.ingest")
images = logging.getLogger("section5.images")

CHUNK = 1 << 18
CANNOT_UNDERSTAND, OUT_OF_RESOURCES, PROCESSING_FAILURE = 0xC000, 0xA700, 0x0110  # PS3.4, B.2.3; PS3.18, I
Told = Accepted | tuple[int, str]  # what became of a part: taken, or a failure reason and why


def stow(request: HttpRequest, study_uid: str | None = None) -> HttpResponse:
    """Store what the body holds; the answer tells of each instance: 200 all, 202 some, 409 none was taken."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    body: IO[bytes] = request.META.get("wsgi.input", request)
    try:
        source = sender_of(request)
        if request.content_type == "application/dicom":
            told = [take_one(body, source, study_uid)]
        else:
            told = list(take_each(body, boundary_of(request.META.get("CONTENT_TYPE", "")), source, study_uid))
    except MultipartError as error:
        status = 400 if request.content_type == "multipart/related" else 415
        return plain(status, f"{error}; nothing of the last part was stored")
    except UnknownSenderError:
        return plain(401, "send a token: Authorization: Bearer ...", {"WWW-Authenticate": 'Bearer realm="dicom"'})
    except (OperationalError, InterfaceError):
        return plain(503, "the database does not answer; send it again", {"Retry-After": "5"})
    return answer(request, told)


def take_one(body: IO[bytes], source: str, study_uid: str | None) -> Told:
    """The whole body is one instance."""
    try:
        with spooled() as file:
            while part := body.read(CHUNK):
                file.write(part)
            return taken(file, source, study_uid)
    except StorageFullError as error:
        return OUT_OF_RESOURCES, str(error)


def take_each(body: IO[bytes], boundary: bytes, source: str, study_uid: str | None) -> Iterator[Told]:
    """Each part of the body is an instance. One that cannot be taken leaves the others alone."""
    parts = pieces(body, boundary)
    for piece in parts:
        if not isinstance(piece, PartStart):
            continue
        told: Told = (PROCESSING_FAILURE, "the part did not end")
        try:
            with spooled() as file:
                for part in parts:
                    if isinstance(part, PartEnd):
                        told = taken(file, source, study_uid)
                        break
                    if isinstance(part, bytes):
                        file.write(part)
        except StorageFullError as error:
            told = (OUT_OF_RESOURCES, str(error))
        yield told


def taken(file: Spooled, source: str, study_uid: str | None) -> Told:
    """What became of a spooled file."""
    try:
        accepted = accept(file, source, study_uid)
        images.info("from %s: instance %d, %s", source, accepted.instance_id, accepted.outcome)
        return accepted
    except RefusedError as error:
        log.info("from %s: %s", source, error)
        return CANNOT_UNDERSTAND, str(error)


def answer(request: HttpRequest, told: list[Told]) -> HttpResponse:
    """The response document of PS3.18, I.2: what was referenced and what failed, as DICOM JSON or DICOM XML."""
    good = [one for one in told if isinstance(one, Accepted)]
    failed = [one for one in told if not isinstance(one, Accepted)]
    if not told:
        return plain(400, "the body holds no instances")
    if len(failed) == len(told) and all(code == OUT_OF_RESOURCES for code, _ in failed):
        status = 507
    else:
        status = 200 if not failed else 202 if good else 409
    if "application/dicom+xml" in request.headers.get("Accept", ""):
        return HttpResponse(as_xml(good, failed), status=status, content_type="application/dicom+xml")
    return HttpResponse(as_json(good, failed), status=status, content_type="application/dicom+json")


def as_json(good: list[Accepted], failed: list[tuple[int, str]]) -> bytes:
    """DICOM JSON (PS3.18, F)."""
    document: dict[str, Any] = {}
    if good:
        document["00081199"] = {
            "vr": "SQ",
            "Value": [
                {
                    "00081150": {"vr": "UI", "Value": [one.header.sop_class_uid]},
                    "00081155": {"vr": "UI", "Value": [one.header.sop_instance_uid]},
                    "00081190": {"vr": "UR", "Value": [address(one)]},
                }
                for one in good
            ],
        }
    if failed:
        document["00081198"] = {
            "vr": "SQ",
            "Value": [
                {"00081197": {"vr": "US", "Value": [code]}, "00080902": {"vr": "LO", "Value": [why]}}
                for code, why in failed
            ],
        }
    return orjson.dumps(document)


def as_xml(good: list[Accepted], failed: list[tuple[int, str]]) -> bytes:
    """The Native DICOM Model (PS3.19, A.1)."""
    root = ET.Element("NativeDicomModel")

    def attribute(parent: ET.Element, tag: str, vr: str, value: str) -> None:
        element = ET.SubElement(parent, "DicomAttribute", {"tag": tag, "vr": vr})
        ET.SubElement(element, "Value", number="1").text = value

    if good:
        sequence = ET.SubElement(root, "DicomAttribute", {"tag": "00081199", "vr": "SQ"})
        for number, one in enumerate(good, 1):
            item = ET.SubElement(sequence, "Item", number=str(number))
            attribute(item, "00081150", "UI", one.header.sop_class_uid)
            attribute(item, "00081155", "UI", one.header.sop_instance_uid)
            attribute(item, "00081190", "UR", address(one))
    if failed:
        sequence = ET.SubElement(root, "DicomAttribute", {"tag": "00081198", "vr": "SQ"})
        for number, (code, why) in enumerate(failed, 1):
            item = ET.SubElement(sequence, "Item", number=str(number))
            attribute(item, "00081197", "US", str(code))
            attribute(item, "00080902", "LO", why)
    return ET.tostring(root, "utf-8", xml_declaration=True)


def address(one: Accepted) -> str:
    """Where to read of the instance."""
    return f"/api/instances/?sop_instance_uid={one.header.sop_instance_uid}"


def plain(status: int, text: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """An answer of one line."""
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8", headers=headers or {})
