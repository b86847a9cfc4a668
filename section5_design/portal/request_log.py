"""Each request has a trace, a line in the log, and counts; what an altered object leads to is said here."""

import logging
import time
from collections.abc import Callable
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from archive.sealing import SealBrokenError
from config import metrics
from config.logs import new_trace

log = logging.getLogger("section5.http")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def sender_address(request: HttpRequest) -> str:
    """Where a request came from: what a proxy that is trusted says last, else who called."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    if told and any(ip_address(address) in network for network in settings.TRUSTED_PROXIES):
        return told[:64]
    return address


class RequestLog:
    """The outermost middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer. The address is logged as its pattern: what people look for may be a patient's name."""
        started = time.perf_counter()
        request.META["REMOTE_ADDR"] = sender_address(request)
        trace = new_trace(request.headers.get("X-Request-ID", ""))
        response = self._get_response(request)
        response.headers["X-Request-ID"] = trace
        match = request.resolver_match
        route = (match.view_name or match.route) if match else "static" if response.status_code < 400 else "none"
        method = str(request.method) if request.method in METHODS else "other"
        seconds = time.perf_counter() - started
        metrics.requests.labels(route, method, response.status_code).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        told = {"route": route, "method": method, "status": response.status_code, "ms": round(seconds * 1000, 1)}
        log.info("%(method)s %(route)s %(status)d in %(ms)s ms", told, extra=told)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:  # noqa: ARG002
        """An object that was altered is never shown."""
        if not isinstance(exception, SealBrokenError):
            return None
        metrics.broken_seals.inc()
        log.error("an object %s; manage.py verify names it", exception)
        return HttpResponse(
            "The stored image was altered and is not shown; the operators can see why.\n", "text/plain", status=500
        )
