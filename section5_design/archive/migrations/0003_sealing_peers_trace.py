"""Sealing keys, DICOM peers, the trace of what brought an instance. Only adds: the version before goes on beside."""

from typing import ClassVar

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("archive", "0002_sender")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="SealingKey",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("wrapped", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
        ),
        migrations.CreateModel(
            name="Peer",
            fields=[
                ("title", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("network", models.CharField(max_length=50)),
                ("port", models.IntegerField(null=True)),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
        ),
        migrations.AddField("instance", "trace", models.CharField(max_length=32, default="", db_default="")),
    ]
