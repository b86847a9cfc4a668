"""Labels of studies, and the indexes that the list of studies is sorted by."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

FORWARD = """
    CREATE INDEX portal_studies_by_patient ON archive_study (patient_name, id);
    CREATE INDEX portal_studies_by_description ON archive_study (study_description, id);
    CREATE INDEX portal_studies_by_accession ON archive_study (accession_number, id);
    CREATE INDEX portal_studies_by_date ON archive_study (study_date, id);
    CREATE INDEX portal_studies_by_receipt ON archive_study (created_at, id);
"""
BACKWARD = """
    DROP INDEX portal_studies_by_patient, portal_studies_by_description, portal_studies_by_accession,
        portal_studies_by_date, portal_studies_by_receipt;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies: ClassVar = [("archive", "0001_initial")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="StudyLabel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.CharField(max_length=40)),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="labels", to="archive.study"
                    ),
                ),
            ],
            options={"constraints": [models.UniqueConstraint(fields=("text", "study"), name="one_label")]},
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
