"""Liveness, readiness and metrics, for the machines that run the service.

django-health-check answers 500 instead of 503 and opens a connection for each check; these two views need none of it.
"""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from elements.exceptions import Unavailable


@extend_schema(exclude=True)
class LiveView(APIView):
    """The process answers."""

    authentication_classes = permission_classes = throttle_classes = ()

    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Return 200."""
        return Response({"status": "live"})


@extend_schema(exclude=True)
class ReadyView(LiveView):
    """The database answers and has the tables that this version needs."""

    migrated = False

    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Return 200, or 503."""
        connection.ensure_connection()
        if ReadyView.migrated:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        else:
            executor = MigrationExecutor(connection)
            ReadyView.migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        if not ReadyView.migrated:
            raise Unavailable("the database lacks migrations; run manage.py migrate")
        return Response({"status": "ready"})


@extend_schema(exclude=True)
class MetricsView(APIView):
    """Metrics of this process in Prometheus' text format."""

    def get_permissions(self) -> list[object]:
        """In production any token may read them; there is no model whose permissions would apply."""
        return [IsAuthenticated()] if self.authentication_classes else []

    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002
        """Return the metrics."""
        return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
