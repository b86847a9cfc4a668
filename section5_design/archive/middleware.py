"""Answer requests whose object was altered, or whose object store does not respond; never with a part of it."""

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from archive.encryption import ObjectIntegrityError
from archive.object_store import StoreUnavailableError
from core import metrics

log = logging.getLogger("section5.http")


class ObjectErrors:
    """Answer requests whose object cannot be read or stored."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:  # noqa: ARG002
        """Answer 503 if the object store does not respond, 500 if an object was altered."""
        if isinstance(exception, StoreUnavailableError):
            log.error("%s", exception.strerror)
            text = "the object store does not respond; try again\n"
            return HttpResponse(text, "text/plain; charset=utf-8", status=503, headers={"Retry-After": "5"})
        if not isinstance(exception, ObjectIntegrityError):
            return None
        metrics.integrity_failures.inc()
        log.error("an object %s; manage.py verify names it", exception)
        text = "The stored image was altered and is not shown; the operators can see why.\n"
        return HttpResponse(text, "text/plain", status=500)
