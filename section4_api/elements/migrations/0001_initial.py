"""The table of elements, and the cache of the request rates, which all processes share."""

from typing import ClassVar

import django.core.validators
import django.db.models.functions.datetime
from django.db import migrations, models

import elements.models


class Migration(migrations.Migration):
    """The tables."""

    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar = [
        migrations.CreateModel(
            name="Element",
            fields=[
                (
                    "id",
                    models.CharField(
                        db_collation="C",
                        help_text="Chosen by the client; 1 to 64 unreserved URL characters.",
                        max_length=64,
                        primary_key=True,
                        serialize=False,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^(?!\\.{1,2}$)[A-Za-z0-9._~-]+\\Z",
                                "must consist of the characters A-Z a-z 0-9 . _ ~ -, and not be . or ..",
                            )
                        ],
                    ),
                ),
                (
                    "device_name",
                    models.CharField(
                        max_length=200,
                        validators=[
                            django.core.validators.ProhibitNullCharactersValidator(),
                            django.core.validators.RegexValidator(
                                "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*[^\\s\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029][^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*\\Z",
                                "must not be blank and must not contain control characters",
                            ),
                        ],
                    ),
                ),
                (
                    "average_before_normalization",
                    models.FloatField(validators=[django.core.validators.MinValueValidator(0)]),
                ),
                (
                    "average_after_normalization",
                    models.FloatField(
                        help_text="The average after normalization to 0 to 1 by the maximum.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1),
                        ],
                    ),
                ),
                (
                    "data_size",
                    models.IntegerField(
                        help_text="How many numbers the data hold.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                ("raw_data", models.JSONField(validators=[elements.models.validate_rows])),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(auto_now=True, db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(fields=["device_name", "id"], name="element_device_name"),
                    models.Index(fields=["average_before_normalization", "id"], name="element_average_before"),
                    models.Index(fields=["average_after_normalization", "id"], name="element_average_after"),
                    models.Index(fields=["data_size", "id"], name="element_data_size"),
                    models.Index(fields=["created_at", "id"], name="element_created_at"),
                    models.Index(fields=["updated_at", "id"], name="element_updated_at"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id__regex", "^(?!\\.{1,2}$)[A-Za-z0-9._~-]+\\Z")),
                        name="element_id_is_valid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "device_name__regex",
                                "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*[^\\s\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029][^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*\\Z",
                            )
                        ),
                        name="element_name_is_valid",
                    ),
                    models.CheckConstraint(condition=models.Q(("data_size__gte", 1)), name="element_size_is_positive"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("average_before_normalization__gte", 0),
                            ("average_after_normalization__gte", 0),
                            ("average_after_normalization__lte", 1),
                        ),
                        name="element_averages_are_in_range",
                    ),
                ],
            },
        ),
        # Unlogged: the rates may be lost in a crash.
        migrations.RunSQL(
            "CREATE UNLOGGED TABLE elements_cache"
            " (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);"
            "CREATE INDEX elements_cache_expires ON elements_cache (expires)",
            "DROP TABLE elements_cache",
        ),
    ]
