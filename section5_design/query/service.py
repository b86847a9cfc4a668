"""What every DICOMweb service shares: who reads, and how errors are answered."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from accounts.readers import reads
from core.outage import report_outage
from query.errors import RequestError

View = Callable[..., HttpResponseBase]


def dicomweb(view: View) -> View:
    """Authenticate the reader, and answer errors in one line."""

    @wraps(view)
    def answered(request: HttpRequest, **values: Any) -> HttpResponseBase:
        try:
            return reads(view)(request, **values)
        except RequestError as error:
            return plain(error.status, str(error))
        except (OperationalError, InterfaceError) as error:
            report_outage(error)
            return plain(503, "the database does not respond; try again", {"Retry-After": "5"})

    return answered


def by_method(**views: Any) -> Any:
    """Choose the view by the request's method; HEAD is answered as GET. Requests are authenticated by the views."""

    @csrf_exempt
    def chosen(request: HttpRequest, **values: Any) -> HttpResponseBase:
        view = views.get("GET" if request.method == "HEAD" else str(request.method))
        if view is None:
            status = 204 if request.method == "OPTIONS" else 405
            return HttpResponse(status=status, headers={"Allow": ", ".join([*views, "OPTIONS"])})
        return view(request, **values)

    chosen.views = views  # for the capabilities
    return chosen


def plain(status: int, text: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """Build a response of one line."""
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8", headers=headers or {})
