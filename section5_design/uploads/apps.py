"""The app."""

from django.apps import AppConfig


class UploadsConfig(AppConfig):
    """Uploads by people."""

    name = "uploads"

    def ready(self) -> None:
        """Connect the signal receivers."""
        from uploads import services  # noqa: F401  # its receivers
