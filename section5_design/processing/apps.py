"""The app."""

from django.apps import AppConfig


class ProcessingConfig(AppConfig):
    """What is done with what is kept."""

    name = "processing"
