"""The tables."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("archive", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "job_id", "fence", "at", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("fence", models.IntegerField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("started_at", models.DateTimeField()),
                ("worker", models.CharField(max_length=100)),
                ("outcome", models.CharField(max_length=11)),
                ("reason", models.CharField(default="", max_length=500)),
            ],
            options={
                "db_table": "processing_attempt",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "id", "at", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("id", models.BigIntegerField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("kind", models.CharField(max_length=20)),
                ("actor", models.CharField(max_length=100)),
                ("detail", models.CharField(max_length=500)),
            ],
            options={
                "db_table": "processing_event",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Result",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "instance_id", "at", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("fence", models.IntegerField()),
                ("figures", models.JSONField()),
                ("preview", models.CharField(default="", max_length=100)),
            ],
            options={
                "db_table": "processing_result",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("name", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("queues", models.CharField(max_length=50)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("beat_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("cpu_percent", models.FloatField(default=0)),
                ("memory_percent", models.FloatField(default=0)),
                ("doing", models.JSONField(default=list)),
                ("state", models.CharField(default="working", max_length=10)),
            ],
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("queue", models.CharField(choices=[("small", "Small"), ("large", "Large")], max_length=5)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("quarantined", "Quarantined"),
                        ],
                        default="queued",
                        max_length=11,
                    ),
                ),
                ("attempts", models.IntegerField(default=0)),
                ("fence", models.IntegerField(default=0)),
                ("next_run_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("rung_at", models.DateTimeField(null=True)),
                ("lease_until", models.DateTimeField(null=True)),
                ("worker", models.CharField(default="", max_length=100)),
                ("reason", models.CharField(default="", max_length=500)),
                ("instance", models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, to="archive.instance")),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("state", "queued")), fields=["next_run_at"], name="job_due"),
                    models.Index(condition=models.Q(("state", "running")), fields=["lease_until"], name="job_leased"),
                    models.Index(condition=models.Q(("state", "quarantined")), fields=["id"], name="job_quarantined"),
                ],
            },
        ),
    ]
