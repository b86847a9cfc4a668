"""The app."""

from django.apps import AppConfig
from django.conf import settings


class AnalysisConfig(AppConfig):
    """Analyses and their results."""

    name = "analysis"
    partitioned_tables = ("analysis_result",)

    def ready(self) -> None:
        """Load the registry, register the handlers of analysis jobs and connect the signal receivers."""
        from analysis import handler, targets
        from analysis.registry import load_analyses
        from jobs.handlers import register

        load_analyses(settings.ANALYSES)  # report a mistake now, not to each job
        register(handler.KIND, handler.AnalysisHandler())
        register(targets.KIND, targets.TargetHandler())
