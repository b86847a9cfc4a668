"""What every DICOMweb service shares: who reads, and how errors are answered."""

import re
from collections.abc import Callable, Iterable
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
    allowed = ", ".join(dict.fromkeys([*views, *(["HEAD"] if "GET" in views else []), "OPTIONS"]))

    @csrf_exempt
    def chosen(request: HttpRequest, **values: Any) -> HttpResponseBase:
        view = views.get("GET" if request.method == "HEAD" else str(request.method))
        if view is None and request.method == "OPTIONS":
            return no_content({"Allow": allowed})
        if view is None:
            return plain(405, f"allowed: {allowed}", {"Allow": allowed})
        return view(request, **values)

    chosen.views = views  # for the capabilities
    return chosen


def plain(status: int, text: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """Build a response of one line."""
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8", headers=headers or {})


def no_content(headers: dict[str, str]) -> HttpResponse:
    """Build a response without a body."""
    response = HttpResponse(status=204, headers=headers)
    del response.headers["Content-Type"]
    return response


@csrf_exempt
def unknown_resource(request: HttpRequest, **_: Any) -> HttpResponse:  # noqa: ARG001
    """Answer a request for a resource that no service has."""
    return plain(404, "unknown resource; OPTIONS on the base address lists all resources")


def build_warning(text: str) -> str:
    """Build the value of a Warning header (PS3.18, 8.4.3)."""
    return f'299 section5 "{text}"'


def list_names(names: Iterable[str]) -> str:
    """List names from a request in a form that is safe in a header."""
    return ", ".join(re.sub(r"[^\w.-]", "?", name, flags=re.ASCII)[:64] for name in list(names)[:8])
