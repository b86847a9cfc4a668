"""A table of who sent something of which study, kept by a trigger: study lists stay fast with many images."""

from typing import ClassVar

import django.db.models.deletion
import django.db.models.functions.comparison
from django.conf import settings
from django.db import migrations, models

FORWARD = """
    CREATE FUNCTION accounts_grant_study_access() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO accounts_studyaccess (study_id, user_id, group_id)
        SELECT series.study_id, NEW.user_id, NEW.group_id
        FROM archive_instance AS instance JOIN archive_series AS series ON series.id = instance.series_id
        WHERE instance.id = NEW.instance_id
        ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$;
    CREATE TRIGGER grant_study_access AFTER INSERT ON accounts_submission FOR EACH ROW
        WHEN (NEW.user_id IS NOT NULL OR NEW.group_id IS NOT NULL) EXECUTE FUNCTION accounts_grant_study_access();
"""
BACKWARD = "DROP TRIGGER grant_study_access ON accounts_submission; DROP FUNCTION accounts_grant_study_access;"


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("accounts", "0001_initial"),
        ("archive", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.AlterModelOptions(
            name="submission",
            options={
                "permissions": [
                    ("submit", "Can send images"),
                    ("operate", "Can see everything, requeue, quarantine, share and drain"),
                    ("audit", "Can read the audit log"),
                    ("administer", "Can manage people, roles and teams"),
                ]
            },
        ),
        migrations.AddField(
            model_name="apitoken",
            name="user",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.CreateModel(
            name="StudyAccess",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("group", models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, to="auth.group")),
                ("study", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="archive.study")),
                (
                    "user",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        models.F("study"),
                        django.db.models.functions.comparison.Coalesce("user", 0),
                        django.db.models.functions.comparison.Coalesce("group", 0),
                        name="one_study_access",
                    )
                ],
                "indexes": [
                    models.Index(fields=["user", "study"], name="studies_of_user"),
                    models.Index(fields=["group", "study"], name="studies_of_group"),
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
