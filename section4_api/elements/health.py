"""Liveness, readiness and metrics, which deploy/nginx.conf hides; main.py checks the migrations before it serves."""

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from elements.exceptions import unavailable_response


def live(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Return 200: the process answers."""
    return JsonResponse({"status": "live"})


def ready(request: HttpRequest) -> HttpResponse:
    """Return 200 if the database answers, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        return unavailable_response(request, error)
    return JsonResponse({"status": "ready"})


def metrics(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Return the metrics of this process for Prometheus."""
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
