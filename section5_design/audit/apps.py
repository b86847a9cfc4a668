"""The app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The audit log."""

    name = "audit"
    partitioned_tables = ("audit_event",)
