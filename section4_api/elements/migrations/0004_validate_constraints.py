"""Validate the constraints, without keeping readers and writers waiting."""

from typing import ClassVar

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

NAMES = ("element_id_is_valid", "element_name_is_valid", "element_size_is_positive", "element_averages_are_in_range")


class Migration(migrations.Migration):
    """A row that breaks a constraint ends the migration, and is named by PostgreSQL."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("elements", "0003_constraints_and_cache")]

    operations: ClassVar = [ValidateConstraint("element", name) for name in NAMES]
