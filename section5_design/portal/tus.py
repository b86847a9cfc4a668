"""Uploads that go on after a broken line: the tus protocol 1.0.0 (tus.io), with creation, with-upload and termination.

Bytes are appended to a file as they come; its size is the offset, so nothing has to be written twice to resume.
"""

import base64
import binascii
import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from typing import IO

from django.contrib.auth.decorators import login_required, permission_required
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from archive.spool import StorageFullError, full_disk_said
from portal.access import SUBMIT
from portal.arrival import forget, take
from portal.limits import TooMuchError, check_limit
from portal.models import Item, Upload

VERSION = "1.0.0"
CHUNK = 1 << 18
LARGEST = 16 << 30  # bytes of one file


class TusError(Exception):
    """The request cannot be served."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@login_required
@permission_required(SUBMIT, raise_exception=True)
def files(request: HttpRequest) -> HttpResponse:
    """OPTIONS: what is spoken here. POST: a new file (creation, 4.2), with its first bytes or without."""
    if request.method == "OPTIONS":
        extensions = "creation,creation-with-upload,termination"
        return answer(204, {"Tus-Version": VERSION, "Tus-Extension": extensions, "Tus-Max-Size": str(LARGEST)})
    if request.method != "POST":
        return answer(405, {"Allow": "OPTIONS, POST"})
    with said() as told:
        check_version(request)
        item = create(request)
        headers = {"Location": reverse("tus-file", args=[item.id])}
        if request.content_type == "application/offset+octet-stream":
            headers |= append(request, item, 0)
        elif item.size == 0:
            take(item)
        return answer(201, headers)
    return told[0]


@login_required
@permission_required(SUBMIT, raise_exception=True)
def file(request: HttpRequest, item_id: uuid.UUID) -> HttpResponse:
    """HEAD: how much is here. PATCH: the next bytes. DELETE: not wanted any more."""
    with said() as told:
        check_version(request)
        item = Item.objects.select_related("upload__user").filter(pk=item_id, upload__user=request.user).first()
        if item is None or item.state == Item.State.CANCELLED:
            raise TusError(404, "there is no such upload")
        if request.method == "HEAD":
            finish(item)
            headers = {"Upload-Offset": str(offset_of(item)), "Upload-Length": str(item.size)}
            return answer(200, headers | {"Cache-Control": "no-store"})
        if request.method == "PATCH":
            if request.content_type != "application/offset+octet-stream":
                raise TusError(415, "send application/offset+octet-stream")
            return answer(204, append(request, item, number(request, "Upload-Offset")))
        if request.method == "DELETE":
            if item.state == Item.State.ARRIVING:
                forget(item)
            return answer(204, {})
        return answer(405, {"Allow": "HEAD, PATCH, DELETE"})
    return told[0]


@contextlib.contextmanager
def said() -> Iterator[list[HttpResponse]]:
    """Say what went wrong as an answer, which the list holds afterwards."""
    told: list[HttpResponse] = []
    try:
        yield told
    except TusError as error:
        told.append(answer(error.status, {}, str(error)))
    except StorageFullError:
        told.append(answer(507, {}, "the disk is full"))
    except (OperationalError, InterfaceError):
        told.append(answer(503, {"Retry-After": "5"}, "the database does not answer; send it again"))


def create(request: HttpRequest) -> Item:
    """The rows of a new file; a new upload, too, unless the metadata name one of this user's."""
    size = number(request, "Upload-Length")
    if size > LARGEST:
        raise TusError(413, f"files are at most {LARGEST >> 30} GB")
    try:
        check_limit(request.user, size)
    except TooMuchError as error:
        raise TusError(413, str(error)) from None
    said_of_it = metadata(request.headers.get("Upload-Metadata", ""))
    upload = upload_of(request, said_of_it.get("upload", ""))
    name = said_of_it.get("filename", "").replace("\0", "")[-300:] or "without a name"
    item = Item.objects.create(upload=upload, name=name, size=size)
    item.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with full_disk_said():
        item.path.touch(mode=0o600)
    return item


def upload_of(request: HttpRequest, named: str) -> Upload:
    """The upload that the metadata name, or a new one."""
    if not named:
        return Upload.objects.create(user=request.user)
    found = Upload.objects.filter(pk=int(named), user=request.user).first() if named.isdecimal() else None
    if found is None:
        raise TusError(404, "there is no such upload of yours")
    return found


def append(request: HttpRequest, item: Item, offset: int) -> dict[str, str]:
    """Write the body behind what is here; take the file in when it is whole."""
    if item.state != Item.State.ARRIVING:
        raise TusError(409, "the file is whole already")
    with full_disk_said(), item.path.open("ab") as target:
        try:
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of two that send at once, one
        except BlockingIOError:
            raise TusError(423, "somebody is sending this file already") from None
        if os.fstat(target.fileno()).st_size != offset:
            raise TusError(409, f"{offset_of(item)} bytes are here; go on from there")
        copy(request.META["wsgi.input"], target, item.size - offset)
    finish(item)
    return {"Upload-Offset": str(offset_of(item))}


def copy(source: IO[bytes], target: IO[bytes], most: int) -> None:
    """What the body holds, and no more than what was announced."""
    while part := source.read(CHUNK):
        if len(part) > most:
            raise TusError(413, "there are more bytes than were announced")
        target.write(part)
        most -= len(part)


def finish(item: Item) -> None:
    """Take in a file of which all bytes are here."""
    if item.state == Item.State.ARRIVING and item.path.exists() and item.path.stat().st_size == item.size:
        take(item)


def offset_of(item: Item) -> int:
    """How many bytes are here."""
    if item.state != Item.State.ARRIVING:
        return item.size
    try:
        return item.path.stat().st_size
    except FileNotFoundError:
        raise TusError(410, "the upload waited too long, and is gone") from None


def number(request: HttpRequest, header: str) -> int:
    """A header that must be a whole number."""
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise TusError(400, f"{header} must be a whole number")
    return int(text)


def metadata(text: str) -> dict[str, str]:
    """Upload-Metadata: pairs of a key and a value in Base64."""
    found = {}
    for pair in filter(None, (pair.strip() for pair in text.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise TusError(400, f"Upload-Metadata: the value of {key} is no UTF-8 in Base64") from None
    return found


def check_version(request: HttpRequest) -> None:
    """Both sides must speak the same."""
    if request.headers.get("Tus-Resumable") != VERSION:
        raise TusError(412, f"this is tus {VERSION}")


def answer(status: int, headers: dict[str, str], text: str = "") -> HttpResponse:
    """An answer of the protocol."""
    response = HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
    for name, value in ({"Tus-Resumable": VERSION} | headers).items():
        response.headers[name] = value
    return response
