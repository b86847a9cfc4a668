"""The tables."""

from typing import ClassVar

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    """Elements and tokens."""

    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar = [
        migrations.CreateModel(
            name="Token",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100, unique=True)),
                ("scope", models.CharField(choices=[("read", "Read"), ("write", "Write")], max_length=5)),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False)),
            ],
        ),
        migrations.CreateModel(
            name="Element",
            fields=[
                ("id", models.CharField(db_collation="C", max_length=64, primary_key=True, serialize=False)),
                ("device_name", models.CharField(max_length=200)),
                ("average_before_normalization", models.FloatField()),
                ("average_after_normalization", models.FloatField()),
                ("data_size", models.IntegerField()),
                ("raw_data", models.JSONField()),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True, db_default=Now())),
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
            },
        ),
    ]
