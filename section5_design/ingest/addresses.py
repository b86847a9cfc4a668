"""Absolute addresses of studies, series and instances (PS3.18, 10.1)."""

from functools import lru_cache

from django.http import HttpRequest
from django.urls import reverse


def study_url(request: HttpRequest, study: str, series: str = "", instance: str = "") -> str:
    """Return where a study, a series or an instance can be retrieved."""
    parts = [studies_url(str(request.scheme), request.get_host()), study]
    parts += ["series", series] if series else []
    parts += ["instances", instance] if instance else []
    return "/".join(parts)


@lru_cache(maxsize=32)
def studies_url(scheme: str, host: str) -> str:
    """Return where studies are, of a host by which this server is known."""
    return f"{scheme}://{host}{reverse('dicomweb-studies')}"
