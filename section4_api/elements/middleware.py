"""Middleware: the content security policy, and a line of JSON and a metric for every request and its outcome."""

import logging
import re
import time
import uuid
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.encoding import escape_uri_path
from prometheus_client import Histogram

log = logging.getLogger("section4.requests")
DURATION = Histogram("http_request_duration_seconds", "Time until the response was sent.", ["method", "view", "status"])
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # clients must not make up values of a label
VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
GetResponse = Callable[[HttpRequest], HttpResponseBase]


def content_security_policy(get_response: GetResponse) -> GetResponse:
    """Return a middleware that adds settings.CONTENT_SECURITY_POLICY."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response["Content-Security-Policy"] = settings.CONTENT_SECURITY_POLICY
        return response

    return respond


class RequestLogMiddleware:
    """Give each request an id, and log it when its response has been sent."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request."""
        start = time.perf_counter()
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request.request_id = given if VALID_ID.match(given) else uuid.uuid4().hex
        response = self._get_response(request)
        response["X-Request-ID"] = request.request_id
        if not response.streaming and response.status_code not in (204, 304):
            response["Content-Length"] = str(len(response.content))
        if request.method == "HEAD":  # waitress would send the body
            if response.streaming:
                response.streaming_content = ()
            else:
                response.content = b""
        # Django calls these when the response has been sent, or the client has gone.
        response._resource_closers.append(lambda: log_response(request, response, time.perf_counter() - start))
        return response


def log_response(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    """Log and count a request and its response; never a token, a query or a value."""
    view = request.resolver_match.view_name if request.resolver_match else ""
    method = request.method if request.method in METHODS else "other"
    DURATION.labels(method, view, response.status_code).observe(seconds)
    line = {
        "request_id": request.request_id,
        "method": request.method,
        "path": escape_uri_path(request.path),
        "status": response.status_code,
        "milliseconds": round(seconds * 1000, 3),
        "bytes": 0 if request.method == "HEAD" else int(response.get("Content-Length", 0)),
        "client": request.META.get("REMOTE_ADDR"),
        "user": getattr(request, "user_name", None),
    }
    if reason := getattr(request, "reason", None):
        line["reason"] = reason
    log.info("request", extra=line)
