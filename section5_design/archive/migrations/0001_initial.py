import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies: list[tuple[str, str]] = []

    operations = [
        migrations.CreateModel(
            name="KeyEncryptionKey",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("wrapped", models.BinaryField()),
                ("uses", models.BigIntegerField(default=0)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name="Study",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uid", models.CharField(db_collation="C", max_length=64, unique=True)),
                ("patient_id", models.CharField(db_default="", db_index=True, default="", max_length=64)),
                ("patient_name", models.CharField(db_default="", default="", max_length=324)),
                ("patient_birth_date", models.CharField(db_default="", default="", max_length=8)),
                ("patient_sex", models.CharField(db_default="", default="", max_length=16)),
                ("study_date", models.CharField(db_default="", db_index=True, default="", max_length=8)),
                ("study_time", models.CharField(db_default="", default="", max_length=14)),
                ("accession_number", models.CharField(db_default="", db_index=True, default="", max_length=16)),
                ("study_id", models.CharField(db_default="", default="", max_length=16)),
                ("study_description", models.CharField(db_default="", default="", max_length=64)),
                ("referring_physician_name", models.CharField(db_default="", default="", max_length=324)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Series",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uid", models.CharField(db_collation="C", max_length=64)),
                ("modality", models.CharField(db_default="", default="", max_length=16)),
                ("series_number", models.IntegerField(null=True)),
                ("series_description", models.CharField(db_default="", default="", max_length=64)),
                ("body_part_examined", models.CharField(db_default="", default="", max_length=16)),
                ("performed_procedure_step_start_date", models.CharField(db_default="", default="", max_length=8)),
                ("performed_procedure_step_start_time", models.CharField(db_default="", default="", max_length=14)),
                ("study", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="archive.study")),
            ],
            options={
                "verbose_name_plural": "series",
            },
        ),
        migrations.CreateModel(
            name="Instance",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sop_instance_uid", models.CharField(db_collation="C", max_length=64)),
                ("sha256", models.CharField(db_collation="C", db_index=True, max_length=64)),
                ("sop_class_uid", models.CharField(max_length=64)),
                ("transfer_syntax_uid", models.CharField(max_length=64)),
                ("instance_number", models.IntegerField(null=True)),
                ("number_of_frames", models.IntegerField(null=True)),
                ("rows", models.IntegerField(null=True)),
                ("columns", models.IntegerField(null=True)),
                ("bits_allocated", models.IntegerField(null=True)),
                ("size", models.BigIntegerField()),
                ("decoded_size", models.BigIntegerField()),
                ("source", models.CharField(max_length=100)),
                ("conflict", models.BooleanField(default=False)),
                ("correlation_id", models.CharField(db_default="", default="", max_length=32)),
                (
                    "received_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True),
                ),
                ("series", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="archive.series")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("sop_instance_uid", "sha256"), name="one_instance")],
            },
        ),
        migrations.AddConstraint(
            model_name="series",
            constraint=models.UniqueConstraint(fields=("study", "uid"), name="series_of_study"),
        ),
    ]
