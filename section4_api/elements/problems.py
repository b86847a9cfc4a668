"""Errors as problem documents (RFC 9457), whatever went wrong and wherever."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.urls import is_valid_path
from rest_framework import exceptions

CONTENT_TYPE = "application/problem+json"
RFC_9110 = {413: "Content Too Large", 422: "Unprocessable Content"}  # older Pythons have the older names
SHOWN_ERRORS = 100  # of a problem; a map may hold thousands

log = logging.getLogger("section4.errors")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a body; the pointer is a JSON pointer as URI fragment (RFC 6901, section 6)."""

    pointer: str
    detail: str
    status: int = 400


class Problem(Exception):  # noqa: N818  # RFC 9457 calls it so
    """Ends a request with a problem document."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, headers or {}


def faulty(faults: Sequence[Fault], what: str = "the body cannot be taken") -> Problem:
    """The problem of a body: 400 where its shape is wrong, 422 where it is right and the numbers are not."""
    status = max((fault.status for fault in faults), key=(422, 400).index)
    return Problem(status, what, [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults])


def answer(
    request: HttpRequest,
    status: int,
    detail: str,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """A problem document as response."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": RFC_9110.get(status, HTTPStatus(status).phrase),
        "status": status,
        "detail": detail,
        "instance": request.path,
        "request_id": getattr(request, "request_id", ""),
    }
    if errors:
        document["errors"] = errors[:SHOWN_ERRORS]
        if len(errors) > SHOWN_ERRORS:
            document["errors_left_out"] = len(errors) - SHOWN_ERRORS
    body = orjson.dumps(document, default=str)
    return HttpResponse(body, status=status, content_type=CONTENT_TYPE, headers=dict(headers or {}))


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """What Django REST framework calls with every exception of a view; None for a fault of ours."""
    request: HttpRequest = context["request"]._request
    match error:
        case Problem():
            return answer(request, error.status, error.detail, error.errors, error.headers)
        case Http404():
            return answer(request, 404, "there is nothing here; /api/docs/ shows what is")
        case PermissionDenied():
            return answer(request, 403, "this is not allowed")
        case OperationalError() | InterfaceError():
            return database_is_away(request, error)
        case DataError():  # a time zone of 23 hours, a year before Christ
            return answer(request, 400, "a value is beyond what the database can hold")
        case exceptions.APIException():
            headers = {}
            if auth_header := getattr(error, "auth_header", None):
                headers["WWW-Authenticate"] = auth_header
            if wait := getattr(error, "wait", None):
                headers["Retry-After"] = str(max(1, round(wait)))
            return answer(request, error.status_code, str(error.detail), headers=headers)
    return None


def database_is_away(request: HttpRequest, error: DatabaseError | InterfaceError) -> HttpResponse:
    """503. Whether a change was stored is not known when the line broke at its end; its ids tell, when sent again."""
    log.error("database: %s", type(error).__name__, extra={"request_id": getattr(request, "request_id", None)})
    detail = "the database does not answer; try again, what was stored after all is recognised by its id"
    return answer(request, 503, detail, headers={"Retry-After": "2"})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: a host that is not ours, a form that is too large, and the like."""
    return answer(request, 400, f"the request cannot be understood ({type(exception).__name__})")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's handler403."""
    return answer(request, 403, "this is not allowed")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's handler404; a forgotten slash at the end leads on, method and body kept (308)."""
    if is_valid_path(f"{request.path_info}/"):
        return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True), preserve_request=True)
    return answer(request, 404, "there is nothing here; /api/docs/ shows what is")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500; outside of the API's views, too, the database may be away."""
    error = sys.exc_info()[1]
    if isinstance(error, OperationalError | InterfaceError):
        return database_is_away(request, error)
    return answer(request, 500, "a fault of the server, which its log describes under this request id")
