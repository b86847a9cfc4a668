"""The app."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """Everything that brings an instance in."""

    name = "ingest"
