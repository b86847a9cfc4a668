"""The app."""

from django.apps import AppConfig


class AnalysisConfig(AppConfig):
    """Analyses and their results."""

    name = "analysis"
    partitioned_tables = ("analysis_result",)

    def ready(self) -> None:
        """Register the handler of analysis jobs and connect the signal receivers."""
        from analysis.handler import KIND, AnalysisHandler
        from jobs.handlers import register

        register(KIND, AnalysisHandler())
