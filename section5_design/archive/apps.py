"""The app."""

from django.apps import AppConfig


class ArchiveConfig(AppConfig):
    """What is kept."""

    name = "archive"
