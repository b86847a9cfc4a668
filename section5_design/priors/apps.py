"""The app."""

from django.apps import AppConfig


class PriorsConfig(AppConfig):
    """Fetching of priors."""

    name = "priors"

    def ready(self) -> None:
        """Register the handlers of the jobs and connect the signal receivers."""
        from jobs.handlers import register
        from priors.routing import FETCH, MAX_ATTEMPTS, SEARCH

        register(SEARCH, "priors.handlers.SearchHandler", MAX_ATTEMPTS)
        register(FETCH, "priors.handlers.FetchHandler", MAX_ATTEMPTS)
