"""The permission of auditors."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("portal", "0001_initial")]

    operations: ClassVar = [
        migrations.AlterModelOptions(
            name="upload",
            options={
                "permissions": [
                    ("operate", "Can see everything, requeue, quarantine, share and drain"),
                    ("audit", "Can read the log of who did what"),
                ]
            },
        ),
    ]
