"""The app."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """Receiving instances."""

    name = "ingest"

    def ready(self) -> None:
        """Register the handler of the jobs that store results."""
        from analysis.targets import PUBLISH
        from ingest.results import ResultsHandler
        from jobs.handlers import register

        register(PUBLISH, ResultsHandler())
