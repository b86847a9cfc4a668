"""Archives, rules, searches and priors."""

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now

from archive.models import Study
from delivery.models import AE_TITLE


class Archive(models.Model):
    """An application entity that answers C-FIND and C-MOVE, and knows SECTION5 with its address and port."""

    name = models.CharField(max_length=50, unique=True, validators=[RegexValidator(r"^[\w.-]+$")])
    title = models.CharField("AE title", max_length=16, validators=[RegexValidator(AE_TITLE)])
    host = models.CharField(max_length=253)
    port = models.IntegerField(validators=[MinValueValidator(1), MaxValueValidator(65535)])
    tls = models.BooleanField("TLS", default=False)
    enabled = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """Return where it is, for lists."""
        return f"{self.title}@{self.host}:{self.port}"


class Rule(models.Model):
    """For which arriving studies priors are fetched, from where, and how many."""

    archive = models.ForeignKey(Archive, models.CASCADE, related_name="rules")
    modality = models.CharField(max_length=16, blank=True)  # of an arriving image; empty: of any
    newest = models.SmallIntegerField(default=3, validators=[MinValueValidator(1), MaxValueValidator(100)])
    same_modality = models.BooleanField(default=False)  # only priors with a modality of the arriving study
    enabled = models.BooleanField(default=True)

    def __str__(self) -> str:
        arriving = f"{self.modality} studies" if self.modality else "every study"
        same = " of the same modality" if self.same_modality else ""
        return f"{arriving}: {self.newest} newest priors{same} <- {self.archive}"


class Search(models.Model):
    """The search for the priors of a study, by a rule; its job sends a C-FIND, once for each study."""

    rule = models.ForeignKey(Rule, models.CASCADE, related_name="searches")
    study = models.ForeignKey(Study, models.CASCADE, related_name="prior_searches")
    created_at = models.DateTimeField(db_default=Now())
    found = models.IntegerField(null=True)  # priors that the rule asks for; null before the archive answered

    class Meta:
        """One search."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["rule", "study"], name="one_search")]
        verbose_name_plural = "searches"

    def __str__(self) -> str:
        return f"{self.study.uid} <- {self.rule.archive}"


class Prior(models.Model):
    """An earlier study to fetch from an archive; its job sends a C-MOVE, once however many studies ask for it."""

    archive = models.ForeignKey(Archive, models.CASCADE, related_name="priors")
    study_uid = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())
    images = models.IntegerField(null=True)  # that the archive sent
    fetched_at = models.DateTimeField(null=True)

    class Meta:
        """One fetch."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["study_uid", "archive"], name="one_prior")]

    def __str__(self) -> str:
        return f"{self.study_uid} <- {self.archive}"
