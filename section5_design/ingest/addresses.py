"""Absolute addresses of studies, series and instances (PS3.18, 10.1)."""

from django.http import HttpRequest
from django.urls import reverse


def study_url(request: HttpRequest, study: str, series: str = "", instance: str = "") -> str:
    """Return where a study, a series or an instance can be retrieved."""
    parts = [reverse("dicomweb-studies"), study]
    parts += ["series", series] if series else []
    parts += ["instances", instance] if instance else []
    return request.build_absolute_uri("/".join(parts))
