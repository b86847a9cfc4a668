"""Liveness and readiness, for the machines that run the service; main.py checks the migrations before it serves."""

from django.db import connection
from drf_spectacular.utils import extend_schema
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
