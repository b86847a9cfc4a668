"""The components of the design system on one page, in development only."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from portal.labels import FILE_STATES, STATES, WORKER_STATES


def show_design(request: HttpRequest) -> HttpResponse:
    """Show every component."""
    if settings.IS_PUBLIC:
        raise Http404("in development only")
    counts = dict.fromkeys(STATES, 1200)
    return render(request, "portal/design.html", {"counts": counts, "files": FILE_STATES, "workers": WORKER_STATES})
