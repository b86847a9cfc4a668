"""Answer STOW-RS before the middleware that only pages need: sessions, languages, CSRF, messages, locked accounts."""

import re
from collections.abc import Callable
from functools import lru_cache

from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch, resolve

STUDIES = re.compile(r"/dicom-web/studies(/[^/]+)?")


class StowShortcut:
    """Call the view of a STOW-RS request directly: the time of the other middleware counts for small images.

    It belongs behind the middleware that logs requests, limits bodies and redirects to TLS.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        if request.method != "POST" or not STUDIES.fullmatch(request.path_info):
            return self._get_response(request)
        request.get_host()  # raises DisallowedHost
        match = request.resolver_match = find_view(request.path_info)
        response: HttpResponse = match.func(request, *match.args, **match.kwargs)
        return response


@lru_cache(maxsize=32)
def find_view(path: str) -> ResolverMatch:
    """Return the view of a path."""
    return resolve(path)
