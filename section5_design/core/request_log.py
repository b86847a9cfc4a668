"""Every HTTP request gets a correlation ID, a log line, and is counted."""

import logging
import time
from collections.abc import Callable
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from core import metrics
from core.correlation import begin_correlation

log = logging.getLogger("section5.http")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def client_address(request: HttpRequest) -> str:
    """Return the client's address: the last one that a trusted proxy forwarded, else the connection's."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    if forwarded and any(ip_address(address) in network for network in settings.TRUSTED_PROXIES):
        return forwarded[:64]
    return address


class RequestLog:
    """The outermost middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request. Its URL is logged as the route's pattern: search terms may be patient names."""
        started = time.perf_counter()
        request.META["REMOTE_ADDR"] = client_address(request)
        correlation = begin_correlation(request.headers.get("X-Request-ID", ""))
        response = self._get_response(request)
        response.headers["X-Request-ID"] = correlation
        match = request.resolver_match
        route = (match.view_name or match.route) if match else "static" if response.status_code < 400 else "none"
        method = str(request.method) if request.method in METHODS else "other"
        seconds = time.perf_counter() - started
        metrics.requests.labels(route, method, response.status_code).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        fields = {"route": route, "method": method, "status": response.status_code, "ms": round(seconds * 1000, 1)}
        log.info("%(method)s %(route)s %(status)d in %(ms)s ms", fields, extra=fields)
        return response
