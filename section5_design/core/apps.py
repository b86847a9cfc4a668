"""The app."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """What every app may use."""

    name = "core"
