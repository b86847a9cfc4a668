"""The app."""

from django.apps import AppConfig


class ElementsConfig(AppConfig):
    """The app of the elements: model, API, admin."""

    name = "elements"
