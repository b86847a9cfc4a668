"""When each source last wrote, for reading from a standby."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("core", "0001_initial")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="LastWrite",
            fields=[
                ("source", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
            ],
            options={"db_table": "core_last_write"},
        ),
    ]
