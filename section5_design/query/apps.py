"""The app."""

from django.apps import AppConfig


class QueryConfig(AppConfig):
    """Query and retrieve."""

    name = "query"
