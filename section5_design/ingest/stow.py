"""STOW-RS (PS3.18, 10.5): store instances over HTTP. Many in multipart/related, or one as application/dicom."""

import logging
from collections.abc import Iterator
from typing import IO, Any
from xml.etree import ElementTree as ET

import orjson
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from accounts.access import SUBMIT
from accounts.api_tokens import UnknownTokenError, authenticate
from archive.object_store import StoreUnavailableError
from archive.spool import StorageFullError
from ingest.addresses import study_url
from ingest.header import RefusedError
from ingest.incoming import IncomingFile, incoming_file
from ingest.multipart import MultipartError, PartEnd, PartStart, iter_parts, parse_boundary
from ingest.store import Sender, Stored, store_instance

log = logging.getLogger("section5.ingest")
images = logging.getLogger("section5.images")

CHUNK = 1 << 18
CANNOT_UNDERSTAND, OUT_OF_RESOURCES, PROCESSING_FAILURE = 0xC000, 0xA700, 0x0110  # PS3.4, B.2.3; PS3.18, I
Outcome = Stored | tuple[int, str]  # of a part: stored, or a failure reason and its text


def stow(request: HttpRequest, study: str | None = None) -> HttpResponse:
    """Store the instances in the body; answer 200 if all were stored, 202 if some, 409 if none."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    body: IO[bytes] = request.META.get("wsgi.input", request)
    try:
        client = authenticate(request)
        if client.user and not client.user.has_perm(SUBMIT):
            return plain(403, "this person may not send images")
        sender = Sender(client.source, client.user.pk if client.user else None)
        if request.content_type == "application/dicom":
            outcomes = [store_single(body, sender, study)]
        else:
            boundary = parse_boundary(request.META.get("CONTENT_TYPE", ""))
            outcomes = list(store_parts(body, boundary, sender, study))
    except MultipartError as error:
        status = 400 if request.content_type == "multipart/related" else 415
        return plain(status, f"{error}; nothing of the last part was stored")
    except UnknownTokenError:
        return plain(
            401, "a token is required: Authorization: Bearer ...", {"WWW-Authenticate": 'Bearer realm="dicom"'}
        )
    except (OperationalError, InterfaceError):
        return plain(503, "the database does not respond; try again", {"Retry-After": "5"})
    except StoreUnavailableError as error:
        log.error("%s", error.strerror)  # noqa: TRY400  # one line
        return plain(503, "the object store does not respond; try again", {"Retry-After": "5"})
    return build_response(request, outcomes)


def store_single(body: IO[bytes], sender: Sender, study_uid: str | None) -> Outcome:
    """Store a body that is one instance."""
    try:
        with incoming_file() as file:
            while part := body.read(CHUNK):
                file.write(part)
            return store_part(file, sender, study_uid)
    except StorageFullError as error:
        return OUT_OF_RESOURCES, str(error)


def store_parts(body: IO[bytes], boundary: bytes, sender: Sender, study_uid: str | None) -> Iterator[Outcome]:
    """Store each part of a multipart body; one that fails does not affect the others."""
    parts = iter_parts(body, boundary)
    for piece in parts:
        if not isinstance(piece, PartStart):
            continue
        outcome: Outcome = (PROCESSING_FAILURE, "the part is incomplete")
        try:
            with incoming_file() as file:
                for part in parts:
                    if isinstance(part, PartEnd):
                        outcome = store_part(file, sender, study_uid)
                        break
                    if isinstance(part, bytes):
                        file.write(part)
        except StorageFullError as error:
            outcome = (OUT_OF_RESOURCES, str(error))
        yield outcome


def store_part(file: IncomingFile, sender: Sender, study_uid: str | None) -> Outcome:
    """Store a spooled file and return the outcome."""
    try:
        stored = store_instance(file, sender, study_uid)
        images.info("from %s: instance %d, %s", sender.source, stored.instance_id, stored.outcome)
        return stored
    except RefusedError as error:
        log.info("from %s: %s", sender.source, error)
        return CANNOT_UNDERSTAND, str(error)


def build_response(request: HttpRequest, outcomes: list[Outcome]) -> HttpResponse:
    """Build the response of PS3.18, I.2: referenced and failed instances, as DICOM JSON or DICOM XML."""
    stored = [one for one in outcomes if isinstance(one, Stored)]
    failed = [one for one in outcomes if not isinstance(one, Stored)]
    if not outcomes:
        return plain(400, "the body holds no instances")
    if len(failed) == len(outcomes) and all(code == OUT_OF_RESOURCES for code, _ in failed):
        status = 507
    else:
        status = 200 if not failed else 202 if stored else 409
    if "application/dicom+xml" in request.headers.get("Accept", ""):
        return HttpResponse(as_xml(request, stored, failed), status=status, content_type="application/dicom+xml")
    return HttpResponse(as_json(request, stored, failed), status=status, content_type="application/dicom+json")


def as_json(request: HttpRequest, stored: list[Stored], failed: list[tuple[int, str]]) -> bytes:
    """Format the response as DICOM JSON (PS3.18, F)."""
    document: dict[str, Any] = {}
    if stored:
        document["00081199"] = {
            "vr": "SQ",
            "Value": [
                {
                    "00081150": {"vr": "UI", "Value": [one.header.sop_class_uid]},
                    "00081155": {"vr": "UI", "Value": [one.header.sop_instance_uid]},
                    "00081190": {"vr": "UR", "Value": [retrieve_url(request, one)]},
                }
                for one in stored
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


def as_xml(request: HttpRequest, stored: list[Stored], failed: list[tuple[int, str]]) -> bytes:
    """Format the response in the Native DICOM Model (PS3.19, A.1)."""
    root = ET.Element("NativeDicomModel")

    def attribute(parent: ET.Element, tag: str, vr: str, value: str) -> None:
        element = ET.SubElement(parent, "DicomAttribute", {"tag": tag, "vr": vr})
        ET.SubElement(element, "Value", number="1").text = value

    if stored:
        sequence = ET.SubElement(root, "DicomAttribute", {"tag": "00081199", "vr": "SQ"})
        for number, one in enumerate(stored, 1):
            item = ET.SubElement(sequence, "Item", number=str(number))
            attribute(item, "00081150", "UI", one.header.sop_class_uid)
            attribute(item, "00081155", "UI", one.header.sop_instance_uid)
            attribute(item, "00081190", "UR", retrieve_url(request, one))
    if failed:
        sequence = ET.SubElement(root, "DicomAttribute", {"tag": "00081198", "vr": "SQ"})
        for number, (code, why) in enumerate(failed, 1):
            item = ET.SubElement(sequence, "Item", number=str(number))
            attribute(item, "00081197", "US", str(code))
            attribute(item, "00080902", "LO", why)
    return ET.tostring(root, "utf-8", xml_declaration=True)


def retrieve_url(request: HttpRequest, one: Stored) -> str:
    """Return the address of an instance."""
    return study_url(request, one.header.study_uid, one.header.series_uid, one.header.sop_instance_uid)


def plain(status: int, text: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """Build a response of one line."""
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8", headers=headers or {})
