"""The app."""

from django.apps import AppConfig


class PriorsConfig(AppConfig):
    """Fetching of priors."""

    name = "priors"

    def ready(self) -> None:
        """Register the handlers of the jobs and connect the signal receivers."""
        from jobs.handlers import register
        from priors.handlers import MAX_ATTEMPTS, FetchHandler, SearchHandler
        from priors.routing import FETCH, SEARCH

        register(SEARCH, SearchHandler(), MAX_ATTEMPTS)
        register(FETCH, FetchHandler(), MAX_ATTEMPTS)
