"""The app."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Jobs and workers."""

    name = "jobs"
    partitioned_tables = ("jobs_attempt",)
