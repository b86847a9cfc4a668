"""Resumable uploads: the tus protocol 1.0.0 (tus.io) with creation, creation-with-upload and termination.

Bytes are appended to a file as they arrive; its size is the offset, so resuming needs no other state.
"""

import base64
import binascii
import contextlib
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from functools import wraps
from typing import IO, Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from accounts.access import SUBMIT
from archive.spool import StorageFullError, map_disk_full
from uploads.models import Upload, UploadFile
from uploads.quotas import QuotaExceededError, check_quota
from uploads.services import cancel, create_file, create_upload
from uploads.unpack import ingest_upload

VERSION = "1.0.0"
CHUNK = 1 << 18
ENDED = 409  # the status of requests to a file that is complete or cancelled
MAX_FILE_BYTES = 16 << 30  # bytes of one file


class TusError(Exception):
    """The request cannot be served."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


View = Callable[..., HttpResponse]


def submitters_only(view: View) -> View:
    """Answer 401 without a session, so that a client can log in and go on, and 403 to people who may not send."""

    @wraps(view)
    def checked(request: HttpRequest, **values: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return respond(401, {}, "log in again")
        if not request.user.has_perm(SUBMIT):
            return respond(403, {}, "you may not send images")
        return view(request, **values)

    return checked


@submitters_only
def files(request: HttpRequest) -> HttpResponse:
    """OPTIONS: describe the server. POST: create a file (creation, 4.2), with or without its first bytes."""
    if request.method == "OPTIONS":
        extensions = "creation,creation-with-upload,termination"
        return respond(204, {"Tus-Version": VERSION, "Tus-Extension": extensions, "Tus-Max-Size": str(MAX_FILE_BYTES)})
    if request.method != "POST":
        return respond(405, {"Allow": "OPTIONS, POST"})
    with map_errors() as errors:
        check_version(request)
        item = create(request)
        headers = {"Location": reverse("tus-file", args=[item.id])}
        if request.content_type == "application/offset+octet-stream":
            headers |= append(request, item, 0)
        elif item.size == 0:
            finish(item)
        return respond(201, headers)
    return errors[0]


@submitters_only
def file(request: HttpRequest, item_id: uuid.UUID) -> HttpResponse:
    """HEAD: return the offset. PATCH: append bytes. DELETE: cancel the file."""
    with map_errors() as errors:
        check_version(request)
        item = UploadFile.objects.select_related("upload__user").filter(pk=item_id, upload__user=request.user).first()
        if item is None or item.state == UploadFile.State.CANCELLED:
            raise TusError(404, "unknown file")
        if request.method == "HEAD":
            if item.state == UploadFile.State.UPLOADING:
                finish(item)
            headers = {"Upload-Offset": str(get_offset(item)), "Upload-Length": str(item.size)}
            return respond(200, headers | {"Cache-Control": "no-store"})
        if request.method == "PATCH":
            if request.content_type != "application/offset+octet-stream":
                raise TusError(415, "send application/offset+octet-stream")
            return respond(204, append(request, item, parse_number(request, "Upload-Offset")))
        if request.method == "DELETE":
            if item.state == UploadFile.State.UPLOADING:
                with lock(item):
                    cancel(item)
            return respond(204, {})
        return respond(405, {"Allow": "HEAD, PATCH, DELETE"})
    return errors[0]


@contextlib.contextmanager
def map_errors() -> Iterator[list[HttpResponse]]:
    """Map errors to a response, which the list contains afterwards."""
    errors: list[HttpResponse] = []
    try:
        yield errors
    except TusError as error:
        errors.append(respond(error.status, {}, str(error)))
    except StorageFullError:
        errors.append(respond(507, {}, "the disk is full"))
    except (OperationalError, InterfaceError):
        errors.append(respond(503, {"Retry-After": "5"}, "the database does not respond; try again"))


def create(request: HttpRequest) -> UploadFile:
    """Create a file, and an upload unless the metadata name one of this user's."""
    size = parse_number(request, "Upload-Length")
    if size > MAX_FILE_BYTES:
        raise TusError(413, f"files are at most {MAX_FILE_BYTES >> 30} GB")
    try:
        check_quota(request.user, size)
    except QuotaExceededError as error:
        raise TusError(413, str(error)) from None
    fields = parse_metadata(request.headers.get("Upload-Metadata", ""))
    upload = find_upload(request, fields.get("upload", ""))
    return create_file(upload, fields.get("filename", ""), size)


def find_upload(request: HttpRequest, named: str) -> Upload:
    """Return the upload that the metadata name, or a new one."""
    if not named:
        return create_upload(request.user)
    found = Upload.objects.filter(pk=int(named), user=request.user).first() if named.isdecimal() else None
    if found is None:
        raise TusError(404, "unknown upload")
    return found


@contextlib.contextmanager
def lock(item: UploadFile) -> Iterator[IO[bytes]]:
    """Lock an unfinished file, positioned at its end, and read its state again inside the lock.

    Raises:
        TusError: it is complete, cancelled, expired, or another request holds the lock.

    """
    try:
        target = item.path.open("r+b")
    except FileNotFoundError:
        item.refresh_from_db(fields=["state"])
        ended = item.state != UploadFile.State.UPLOADING
        raise TusError(ENDED if ended else 410, "the upload has ended") from None
    with map_disk_full(), target:
        try:
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TusError(423, "another request is sending this file") from None
        item.refresh_from_db(fields=["state"])
        if item.state != UploadFile.State.UPLOADING:
            raise TusError(ENDED, "the upload has ended")
        target.seek(0, os.SEEK_END)
        yield target


def append(request: HttpRequest, item: UploadFile, offset: int) -> dict[str, str]:
    """Append the body; ingest the file when it is complete, still inside the lock."""
    with lock(item) as target:
        if target.tell() != offset:
            raise TusError(409, f"the offset is {target.tell()}")
        copy(request.META["wsgi.input"], target, item.size - offset)
        target.flush()
        if target.tell() == item.size:
            ingest_upload(item)
    return {"Upload-Offset": str(get_offset(item))}


def copy(source: IO[bytes], target: IO[bytes], limit: int) -> None:
    """Copy the body, up to the announced length."""
    while part := source.read(CHUNK):
        if len(part) > limit:
            raise TusError(413, "more bytes than announced")
        target.write(part)
        limit -= len(part)


def finish(item: UploadFile) -> None:
    """Ingest a complete file whose last request did not.

    An incomplete file is not locked: that would refuse the request that continues it.

    Raises:
        TusError: another request is ingesting it, and may fail: a client must not see its offset as the file's size.

    """
    if get_offset(item) != item.size:
        return
    try:
        with lock(item):
            ingest_upload(item)
    except TusError as error:
        if error.status != ENDED:
            raise


def get_offset(item: UploadFile) -> int:
    """Return the number of bytes received."""
    if item.state != UploadFile.State.UPLOADING:
        return item.size
    try:
        return item.path.stat().st_size
    except FileNotFoundError:
        raise TusError(410, "the upload expired") from None


def parse_number(request: HttpRequest, header: str) -> int:
    """Return a header that must be a non-negative integer."""
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise TusError(400, f"{header} must be a non-negative integer")
    return int(text)


def parse_metadata(text: str) -> dict[str, str]:
    """Parse Upload-Metadata: pairs of a key and a Base64 value."""
    found = {}
    for pair in filter(None, (pair.strip() for pair in text.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise TusError(400, f"Upload-Metadata: the value of {key} is not Base64 of UTF-8") from None
    return found


def check_version(request: HttpRequest) -> None:
    """Check that the client uses this version of the protocol."""
    if request.headers.get("Tus-Resumable") != VERSION:
        raise TusError(412, f"this server supports tus {VERSION}")


def respond(status: int, headers: dict[str, str], text: str = "") -> HttpResponse:
    """Build a response of the protocol."""
    response = HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
    for name, value in ({"Tus-Resumable": VERSION} | headers).items():
        response.headers[name] = value
    return response
