"""Storage commitments."""

from typing import ClassVar

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar = [
        migrations.CreateModel(
            name="Commitment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("transaction_uid", models.CharField(max_length=64)),
                ("peer", models.CharField(max_length=16)),
                ("asked", models.JSONField()),
                ("created_at", models.DateTimeField(db_default=Now())),
                ("tries", models.IntegerField(default=0)),
                ("next_at", models.DateTimeField(db_default=Now())),
                ("reported_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["peer", "transaction_uid"], name="one_transaction"),
                ],
                "indexes": [
                    models.Index(fields=["next_at"], condition=models.Q(reported_at=None), name="commitment_due"),
                ],
            },
        ),
    ]
