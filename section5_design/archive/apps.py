"""The app."""

from django.apps import AppConfig


class ArchiveConfig(AppConfig):
    """The archive."""

    name = "archive"
