"""A line of JSON for every request, with what became of it; the same as figures for Prometheus. Never a token."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Histogram

from elements import problems

log = logging.getLogger("section4.requests")
acceptable_id = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")

REQUESTS = Counter("api_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "api_request_seconds",
    "Seconds from request to response, an export's sending included",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10, 60),
)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestLog:
    """Middleware: gives each request an id, and logs and counts it when its answer is complete."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request."""
        start = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        request.request_id = given if acceptable_id.match(given) else uuid.uuid4().hex
        response = self._get_response(request)
        if response.status_code >= 400 and needs_problem(request, response):
            response = as_problem(request, response)
        response["X-Request-ID"] = request.request_id
        if response.streaming:
            response.streaming_content = Counted(request, response, start)
            return response
        size = len(response.content)
        if request.method != "HEAD" and response.status_code != 304:
            response["Content-Length"] = str(size)
        note(request, response.status_code, size, start)
        return response


def needs_problem(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether an error would go out as something else than a problem document; the admin's pages are for people."""
    return response.get("Content-Type") != problems.CONTENT_TYPE and not request.path.startswith("/admin/")


def as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The same error as a problem document."""
    allowed = {"Allow": response["Allow"]} if response.has_header("Allow") else {}
    return problems.answer(request, response.status_code, response.reason_phrase.lower(), headers=allowed)


class Counted:
    """The content of a stream; the line is logged when the response is closed: it is sent, or the client has gone."""

    def __init__(self, request: HttpRequest, response: HttpResponseBase, start: float) -> None:
        self._request, self._status, self._start = request, response.status_code, start
        self._content = iter(response.streaming_content)
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        """Itself."""
        return self

    def __next__(self) -> bytes:
        """The next part."""
        part: bytes = next(self._content)
        self._size += len(part)
        return part

    def close(self) -> None:
        """Log; Django calls this when it closes the response."""
        note(self._request, self._status, self._size, self._start)


def note(request: HttpRequest, status: int, size: int, start: float) -> None:
    """Log and count an answer."""
    seconds = time.perf_counter() - start
    method = request.method if request.method in METHODS else "other"
    match = request.resolver_match
    route = match.route if match else "none"
    REQUESTS.labels(method, route, status).inc()
    SECONDS.labels(method, route).observe(seconds)
    line: dict[str, Any] = {
        "request_id": request.request_id,
        "method": request.method,
        "path": request.path,
        "status": status,
        "milliseconds": round(seconds * 1000, 3),
        "bytes": size,
        "client": client_of(request),
        "token": getattr(request, "token_name", None),
    }
    if settings.LOG_BODIES and hasattr(request, "body_start"):
        line["body"] = request.body_start[: settings.LOG_BODIES].decode(errors="replace")
    log.info("request", extra=line)


def client_of(request: HttpRequest) -> str:
    """The address of the client; as the proxy saw it, where there is one that we trust."""
    forwarded: str = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_PROXY else ""
    return forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    _standard = frozenset(
        (*vars(logging.makeLogRecord({})), "message", "asctime", "request", "status_code", "taskName")
    )

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in self._standard}
        if request := getattr(record, "request", None):
            line["request_id"] = getattr(request, "request_id", None)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()
