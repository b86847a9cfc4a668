"""The app."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The web portal and the read API."""

    name = "portal"
