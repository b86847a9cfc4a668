"""What an altered object leads to: an error page, a count, a log line, and never its content."""

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from archive.encryption import ObjectIntegrityError
from core import metrics

log = logging.getLogger("section5.http")


class AlteredObjects:
    """Answer requests for altered objects."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:  # noqa: ARG002
        """Answer 500 if an object was altered."""
        if not isinstance(exception, ObjectIntegrityError):
            return None
        metrics.integrity_failures.inc()
        log.error("an object %s; manage.py verify names it", exception)
        text = "The stored image was altered and is not shown; the operators can see why.\n"
        return HttpResponse(text, "text/plain", status=500)
