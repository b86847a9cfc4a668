"""Liveness, readiness and metrics, which deploy/nginx.conf hides; main.py checks the migrations before it serves."""

from django.db import connection
from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


@extend_schema(exclude=True)
class LiveView(APIView):
    """The process answers."""

    authentication_classes = permission_classes = throttle_classes = ()

    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Return 200."""
        return Response({"status": "live"})


@extend_schema(exclude=True)
class ReadyView(LiveView):
    """The database answers."""

    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Return 200, or 503 by the exception handler."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return Response({"status": "ready"})


def metrics(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Return the metrics of this process for Prometheus."""
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
