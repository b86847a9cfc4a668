"""Constraints as the validators, the cache table of the request rates; tokens move to django-rest-knox."""

import django.core.validators
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

import elements.models


class Migration(migrations.Migration):
    """Constraints that are not validated yet lock the table for a moment only; 0004 validates them."""

    dependencies = [
        ("elements", "0002_remove_id_like_index"),
    ]

    operations = [
        migrations.DeleteModel(
            name="Token",
        ),
        migrations.AlterField(
            model_name="element",
            name="average_after_normalization",
            field=models.FloatField(
                help_text="The average after normalization to 0 to 1 by the maximum.",
                validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)],
            ),
        ),
        migrations.AlterField(
            model_name="element",
            name="average_before_normalization",
            field=models.FloatField(validators=[django.core.validators.MinValueValidator(0)]),
        ),
        migrations.AlterField(
            model_name="element",
            name="data_size",
            field=models.IntegerField(
                help_text="How many numbers the data hold.", validators=[django.core.validators.MinValueValidator(1)]
            ),
        ),
        migrations.AlterField(
            model_name="element",
            name="device_name",
            field=models.CharField(
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
        migrations.AlterField(
            model_name="element",
            name="id",
            field=models.CharField(
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
        migrations.AlterField(
            model_name="element",
            name="raw_data",
            field=models.JSONField(validators=[elements.models.validate_rows]),
        ),
        AddConstraintNotValid(
            model_name="element",
            constraint=models.CheckConstraint(
                condition=models.Q(("id__regex", "^(?!\\.{1,2}$)[A-Za-z0-9._~-]+\\Z")), name="element_id_is_valid"
            ),
        ),
        AddConstraintNotValid(
            model_name="element",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "device_name__regex",
                        "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*[^\\s\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029][^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*\\Z",
                    )
                ),
                name="element_name_is_valid",
            ),
        ),
        AddConstraintNotValid(
            model_name="element",
            constraint=models.CheckConstraint(
                condition=models.Q(("data_size__gte", 1)), name="element_size_is_positive"
            ),
        ),
        AddConstraintNotValid(
            model_name="element",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("average_before_normalization__gte", 0),
                    ("average_after_normalization__gte", 0),
                    ("average_after_normalization__lte", 1),
                ),
                name="element_averages_are_in_range",
            ),
        ),
        # Unlogged: the counters of the request rates may be lost in a crash.
        migrations.RunSQL(
            "CREATE UNLOGGED TABLE elements_cache"
            " (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);"
            "CREATE INDEX elements_cache_expires ON elements_cache (expires)",
            "DROP TABLE elements_cache",
        ),
    ]
