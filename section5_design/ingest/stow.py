"""STOW-RS (PS3.18, 10.5): store instances over HTTP. Many in multipart/related, or one as application/dicom."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import orjson
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from accounts.access import SUBMIT
from accounts.api_tokens import UnknownTokenError, authenticate
from archive.object_store import StoreUnavailableError
from archive.spool import StorageFullError
from core.dicom_xml import XML, to_xml
from ingest.addresses import study_url
from ingest.header import RefusedError, is_uid
from ingest.incoming import IncomingFile, incoming_file
from ingest.multipart import MultipartError, PartEnd, PartStart, PartTypeError, iter_parts, parse_boundary
from ingest.store import Sender, Stored, store_instance

log = logging.getLogger("section5.ingest")
images = logging.getLogger("section5.images")

CHUNK = 1 << 18
CANNOT_UNDERSTAND, OUT_OF_RESOURCES, PROCESSING_FAILURE = 0xC000, 0xA700, 0x0110  # PS3.4, B.2.3; PS3.18, I
DICOM, JSON = "application/dicom", "application/dicom+json"


@dataclass(frozen=True)
class Failure:
    """A part that was not stored: its failure reason, the reason as text, and the instance's UIDs if they are known."""

    reason: int
    comment: str
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


Outcome = Stored | Failure  # of a part


def stow(request: HttpRequest, study: str | None = None) -> HttpResponse:
    """Store the instances in the body; answer 200 if all were stored, 202 if some, 409 if none."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    response_type = request.get_preferred_type([JSON, "application/json", XML])
    if response_type is None:
        return plain(406, f"offered: {JSON}, {XML}; nothing was stored")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return plain(415, "the body must not be compressed; nothing was stored", {"Accept-Encoding": "identity"})
    if study is not None and not is_uid(study):
        return plain(400, "the study in the address is not a UID; nothing was stored")
    body: IO[bytes] = request.META.get("wsgi.input", request)
    try:
        client = authenticate(request)
        if client.user and not client.user.has_perm(SUBMIT):
            return plain(403, "this person may not send images")
        sender = Sender(client.source, client.user.pk if client.user else None)
        if request.content_type == DICOM:
            outcomes = store_single(body, sender, study)
        else:
            boundary = parse_boundary(request.META.get("CONTENT_TYPE", ""), DICOM)
            outcomes = list(store_parts(body, boundary, sender, study))
    except PartTypeError as error:
        return plain(415, f"{error}; nothing was stored")
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
    return build_response(request, outcomes, response_type)


def store_single(body: IO[bytes], sender: Sender, study_uid: str | None) -> list[Outcome]:
    """Store a body that is one instance, or none if it is empty."""
    try:
        with incoming_file() as file:
            while part := body.read(CHUNK):
                file.write(part)
            return [store_part(file, sender, study_uid)] if file.size else []
    except StorageFullError as error:
        return [Failure(OUT_OF_RESOURCES, str(error))]


def store_parts(body: IO[bytes], boundary: bytes, sender: Sender, study_uid: str | None) -> Iterator[Outcome]:
    """Store each part of a multipart body; one that fails does not affect the others."""
    parts = iter_parts(body, boundary)
    for piece in parts:
        if not isinstance(piece, PartStart):
            continue
        outcome: Outcome = Failure(PROCESSING_FAILURE, "the part is incomplete")
        try:
            with incoming_file() as file:
                for part in parts:
                    if isinstance(part, PartEnd):
                        outcome = check_type(piece) or store_part(file, sender, study_uid)
                        break
                    if isinstance(part, bytes):
                        file.write(part)
        except StorageFullError as error:
            outcome = Failure(OUT_OF_RESOURCES, str(error))
        yield outcome


def check_type(part: PartStart) -> Failure | None:
    """Return a failure if a part says that it is something else than a DICOM file."""
    media_type = part.headers.get("content-type", DICOM).partition(";")[0].strip().lower()
    return None if media_type == DICOM else Failure(CANNOT_UNDERSTAND, f"the part is not {DICOM}")


def store_part(file: IncomingFile, sender: Sender, study_uid: str | None) -> Outcome:
    """Store a spooled file and return the outcome."""
    try:
        stored = store_instance(file, sender, study_uid)
        images.info("from %s: instance %d, %s", sender.source, stored.instance_id, stored.outcome)
        return stored
    except RefusedError as error:
        log.info("from %s: %s", sender.source, error)
        return Failure(CANNOT_UNDERSTAND, str(error), error.sop_class_uid, error.sop_instance_uid)


def build_response(request: HttpRequest, outcomes: list[Outcome], media_type: str) -> HttpResponse:
    """Build the response of PS3.18, I.2, as DICOM JSON or DICOM XML."""
    stored = [one for one in outcomes if isinstance(one, Stored)]
    failed = [one for one in outcomes if isinstance(one, Failure)]
    if not outcomes:
        return plain(400, "the body holds no instances")
    if len(failed) == len(outcomes) and all(one.reason == OUT_OF_RESOURCES for one in failed):
        status = 507
    else:
        status = 200 if not failed else 202 if stored else 409
    document = build_document(request, stored, failed)
    content = to_xml(document) if media_type == XML else orjson.dumps(document)
    return HttpResponse(content, status=status, content_type=XML if media_type == XML else JSON)


def build_document(request: HttpRequest, stored: list[Stored], failed: list[Failure]) -> dict[str, Any]:
    """Build the attributes of a response: the instances that were stored, and those that were not.

    Failures whose UIDs are unknown are in Other Failures Sequence. The study's address is there if it is only one.
    """
    named = [one for one in failed if one.sop_class_uid and one.sop_instance_uid]
    sequences = {
        "00081198": [describe_failure(one) for one in named],
        "00081199": [describe_stored(request, one) for one in stored],
        "0008119A": [describe_failure(one) for one in failed if one not in named],
    }
    document: dict[str, Any] = {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}
    studies = {one.header.study_uid for one in stored}
    if len(studies) == 1:
        address = study_url(request, studies.pop())
        document = {"00081190": {"vr": "UR", "Value": [address]}} | document
    return document


def describe_stored(request: HttpRequest, one: Stored) -> dict[str, Any]:
    """Return the item of a stored instance."""
    address = study_url(request, one.header.study_uid, one.header.series_uid, one.header.sop_instance_uid)
    return describe_instance(one.header.sop_class_uid, one.header.sop_instance_uid) | {
        "00081190": {"vr": "UR", "Value": [address]}
    }


def describe_failure(one: Failure) -> dict[str, Any]:
    """Return the item of a part that was not stored, with the reason also as text."""
    comment = {"00080902": {"vr": "LO", "Value": [one.comment[:64]]}}
    known = describe_instance(one.sop_class_uid, one.sop_instance_uid) if one.sop_instance_uid else {}
    return comment | known | {"00081197": {"vr": "US", "Value": [one.reason]}}


def describe_instance(sop_class_uid: str, sop_instance_uid: str) -> dict[str, Any]:
    """Return the reference to an instance."""
    return {
        "00081150": {"vr": "UI", "Value": [sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [sop_instance_uid]},
    }


def plain(status: int, text: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """Build a response of one line."""
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8", headers=headers or {})
