"""What machines ask of a service: whether it lives, whether it is ready, how it fares."""

import os

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from elements.problems import Problem

migrated = False


@extend_schema(exclude=True)
class Live(APIView):
    """The process answers."""

    authentication_classes = permission_classes = throttle_classes = ()

    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Always 200."""
        return Response({"status": "live"})


@extend_schema(exclude=True)
class Ready(APIView):
    """The database answers, and has the tables that this version needs; else 503."""

    authentication_classes = permission_classes = throttle_classes = ()

    def get(self, request: Request) -> Response:  # noqa: ARG002
        """200 when requests can be served."""
        global migrated
        connection = connections[DEFAULT_DB_ALIAS]
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not migrated:
            executor = MigrationExecutor(connection)
            migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        if not migrated:
            raise Problem(503, "the database lacks migrations; run manage.py migrate", headers={"Retry-After": "5"})
        return Response({"status": "ready"})


@extend_schema(exclude=True)
class Metrics(APIView):
    """Figures in Prometheus' text format, of all worker processes together."""

    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002
        """The figures."""
        registry = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
