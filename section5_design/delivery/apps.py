"""The app."""

from django.apps import AppConfig


class DeliveryConfig(AppConfig):
    """Sending instances to other systems."""

    name = "delivery"

    def ready(self) -> None:
        """Register the handler of delivery jobs and connect the signal receivers."""
        from delivery.routing import KIND, MAX_ATTEMPTS
        from jobs.handlers import register

        register(KIND, "delivery.handler.DeliveryHandler", MAX_ATTEMPTS)
