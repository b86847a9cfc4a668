"""The app."""

from django.apps import AppConfig


class ElementsConfig(AppConfig):
    """Image processing results: model, API, tokens."""

    name = "elements"
