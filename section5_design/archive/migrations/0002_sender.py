"""Who may send over HTTP."""

from typing import ClassVar

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    """A table of tokens' hashes."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("archive", "0001_initial")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Sender",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100, unique=True)),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
        ),
    ]
