"""Errors as problem documents (RFC 9457), on top of Django REST framework's own exception handler."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from django.db import DatabaseError, DataError, Error, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.urls import is_valid_path
from drf_orjson_renderer.renderers import ORJSONRenderer  # type: ignore[import-untyped]
from rest_framework import exceptions
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

CONTENT_TYPE = "application/problem+json"
INVALID = "the request is not valid; errors says where"
MAX_ERRORS = 100  # of a document; a map may hold thousands
BUSY = ("55P03", "57014")  # lock_timeout, statement_timeout

log = logging.getLogger("section4.errors")


class InvalidParameter(exceptions.ValidationError):
    """Parameters of the query string are invalid; `detail` maps each name to the reason."""


class Conflict(exceptions.APIException):
    """An id is already stored."""

    status_code = 409
    default_code = "conflict"
    summary = "an id is already stored; errors says which"


class PreconditionFailed(exceptions.APIException):
    """If-Match names another version."""

    status_code = 412
    default_code = "precondition_failed"
    default_detail = "the element was changed since you read it; read it again"


class Unavailable(exceptions.APIException):
    """The database does not answer, or is busy."""

    status_code = 503
    default_code = "unavailable"
    default_detail = "the database does not answer; try again, an element that was stored is recognized by its id"
    wait = 2


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Return the problem document of an exception; None for a bug, which becomes a 500."""
    request: Request = context["request"]
    if isinstance(error, DataError):  # a time zone of 23 hours, a year before Christ
        error = exceptions.ParseError("a value is beyond what the database can hold")
    elif isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError:
        # The bare class has no SQLSTATE: psycopg2 raises it if the connection breaks during COPY.
        error = translate_database_error(request._request, error)
    elif isinstance(error, Http404):  # of Django REST framework's content negotiation
        error = InvalidParameter({"format": "is not a format of this resource; leave it out for JSON"})
    response = drf_exception_handler(error, context)
    if response is None or not isinstance(error, exceptions.APIException):
        return response
    if isinstance(error.detail, str):
        summary, errors = str(error.detail), []
    elif isinstance(error, InvalidParameter):
        parameters = error.detail.items()
        summary, errors = INVALID, [{"parameter": name, "code": e.code, "detail": str(e)} for name, e in parameters]
    else:
        summary, errors = getattr(error, "summary", INVALID), list(iterate_errors(error.detail))
    if response.status_code == 400 and errors:
        response.status_code = choose_status(errors)
    response.data = build_problem(request._request, response.status_code, summary, errors)
    if not isinstance(getattr(request, "accepted_renderer", None), BrowsableAPIRenderer):  # which shows it in its page
        request.accepted_renderer, request.accepted_media_type = ORJSONRenderer(), CONTENT_TYPE
        response.content_type = CONTENT_TYPE
    return response


def translate_database_error(request: HttpRequest, error: Error) -> Unavailable:
    """Log a database error and return the 503. If a connection broke at COMMIT, the change may have been stored."""
    busy = getattr(error.__cause__, "pgcode", None) in BUSY
    log.error("database: %s", type(error).__name__, extra={"request": request})
    return Unavailable("the database is busy; try again" if busy else None)


def iterate_errors(detail: Any, path: tuple[Any, ...] = ()) -> Iterator[dict[str, str]]:
    """Yield each error of a nested detail with its JSON pointer."""
    if isinstance(detail, Mapping):
        for step, inner in detail.items():
            yield from iterate_errors(inner, path if step == "non_field_errors" else (*path, step))
    elif isinstance(detail, list):
        yield from iterate_errors(detail[0], path)  # the first reason is enough
    else:
        yield {"pointer": build_pointer(path), "code": detail.code, "detail": str(detail)}


def choose_status(errors: Sequence[dict[str, str]]) -> int:
    """Return the status for errors of a body: 409 or 422 if all of them are of that kind, else 400."""
    codes = {error["code"] for error in errors}
    return {"conflict": 409, "unprocessable": 422}.get(codes.pop(), 400) if len(codes) == 1 else 400


def build_pointer(path: tuple[Any, ...]) -> str:
    """Return a JSON pointer as URI fragment (RFC 6901, section 6)."""
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in path]
    return "#" + "".join(f"/{quote(step, safe='!$&()*+,;=:@~')}" for step in steps)


def build_problem(
    request: HttpRequest, status: int, detail: str, errors: Sequence[dict[str, str]] = ()
) -> dict[str, Any]:
    """Return a problem document, and note the reason for the request's line in the log: codes, never values."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
        "request_id": getattr(request, "request_id", ""),
    }
    wrong = [f"{error.get('pointer') or quote(error['parameter'])} {error['code']}" for error in errors[:3]]
    request.reason = (", ".join(wrong) or detail)[:200]
    if errors:
        document["errors"] = errors[:MAX_ERRORS]
        if len(errors) > MAX_ERRORS:
            document["errors_omitted"] = len(errors) - MAX_ERRORS
    return document


def problem_response(request: HttpRequest, status: int, detail: str, **headers: str) -> HttpResponse:
    """Return a problem document for an error outside of the API's views."""
    body = orjson.dumps(build_problem(request, status, detail))
    return HttpResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)


def unavailable_response(request: HttpRequest, error: Error) -> HttpResponse:
    """Return the 503 of a database error outside of the API's views."""
    unavailable = translate_database_error(request, error)
    return problem_response(request, 503, str(unavailable.detail), **{"Retry-After": str(unavailable.wait)})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: an unknown host, a form that is too large, and the like."""
    return problem_response(request, 400, f"the request is not valid ({type(exception).__name__})")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's handler404; a missing slash at the end redirects, preserving method and body (308)."""
    if is_valid_path(f"{request.path_info}/"):
        return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True), preserve_request=True)
    return problem_response(request, 404, "not found; /api/docs/ describes the API")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500; the database may fail outside of the API's views, too."""
    error = sys.exc_info()[1]
    if isinstance(error, OperationalError | InterfaceError):
        return unavailable_response(request, error)
    return problem_response(request, 500, "an error of the server; its log has the cause under this request id")
