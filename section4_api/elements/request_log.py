"""A line of JSON for every request and its outcome, and the same as metrics for Prometheus; never a token or a query.

django-structlog is not used: it writes two lines a request, with the query string, and an export's before it is sent.
"""

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Histogram

from elements import exceptions

log = logging.getLogger("section4.requests")
VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
REQUESTS = Counter("api_requests_total", "Requests answered", ["method", "route", "status"])
DURATION = Histogram(
    "api_request_duration_seconds",
    "Time until the response was complete, including the sending of an export",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10, 60),
)


class RequestLogMiddleware:
    """Give each request an id; log and count it when its response is complete."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request."""
        start = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        request.request_id = given if VALID_ID.match(given) else uuid.uuid4().hex
        response = self._get_response(request)
        if response.status_code >= 400 and needs_problem(request, response):
            allow = {"Allow": response["Allow"]} if response.has_header("Allow") else {}
            response = exceptions.problem_response(
                request, response.status_code, response.reason_phrase.lower(), **allow
            )
        response["X-Request-ID"] = request.request_id
        if response.streaming:  # Django closes the response when the file has been sent, or the client has gone
            close = response.close

            def close_and_record() -> None:
                close()
                record(request, response, int(response.get("Content-Length", 0)), start)

            response.close = close_and_record
            return response
        size = len(response.content)
        if request.method != "HEAD" and response.status_code not in (204, 304):
            response["Content-Length"] = str(size)
        record(request, response, size, start)
        return response


def needs_problem(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether an error is not a problem document yet; the pages of people stay HTML."""
    pages = request.path.startswith("/admin/") or getattr(response, "accepted_media_type", "") == "text/html"
    return response.get("Content-Type") != exceptions.CONTENT_TYPE and not pages


def record(request: HttpRequest, response: HttpResponseBase, size: int, start: float) -> None:
    """Log and count a response."""
    seconds = time.perf_counter() - start
    method = request.method if request.method in METHODS else "other"
    route = request.resolver_match.route if request.resolver_match else "none"
    REQUESTS.labels(method, route, response.status_code).inc()
    DURATION.labels(method, route).observe(seconds)
    line: dict[str, Any] = {
        "request_id": request.request_id,
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "milliseconds": round(seconds * 1000, 3),
        "bytes": size,
        "client": get_client(request),
        "user": getattr(request, "user_name", None),
    }
    if reason := getattr(request, "reason", None):
        line["reason"] = reason
    if settings.LOG_BODIES and hasattr(request, "body_start"):
        line["body"] = request.body_start[: settings.LOG_BODIES].decode(errors="replace")
    log.info("request", extra=line)


def get_client(request: HttpRequest) -> str:
    """Return the client's address; the one that the proxy in front saw, where it is trusted."""
    forwarded: str = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_PROXY else ""
    return forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")
