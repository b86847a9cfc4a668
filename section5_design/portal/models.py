"""Labels that people give to studies."""

from typing import ClassVar

from django.db import models

from archive.models import Study


class StudyLabel(models.Model):
    """A label of a study, for everybody who may see the study."""

    study = models.ForeignKey(Study, models.CASCADE, related_name="labels")
    text = models.CharField(max_length=40)

    class Meta:
        """A study has a label once; studies are found by their labels."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["text", "study"], name="one_label")]
