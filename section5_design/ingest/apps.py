"""The app."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """Receiving instances."""

    name = "ingest"
