"""Destinations, rules and deliveries."""

import re
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now

from archive.models import Instance

URL = re.compile(r"https?://[a-z0-9.\[\]:-]+(/[!-~]*)?\Z", re.IGNORECASE)
AE_TITLE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?\Z")  # PS3.5, 6.2


class Destination(models.Model):
    """Where instances are sent to."""

    class Kind(models.TextChoices):
        """How they are sent."""

        DICOM = "dicom", "C-STORE"
        STOW = "stow", "STOW-RS"
        WEBHOOK = "webhook", "Webhook"

    name = models.CharField(max_length=50, unique=True, validators=[RegexValidator(r"^[\w.-]+$")])
    kind = models.CharField(max_length=7, choices=Kind)
    title = models.CharField("AE title", max_length=16, blank=True, validators=[RegexValidator(AE_TITLE)])
    host = models.CharField(max_length=253, blank=True)
    port = models.IntegerField(null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(65535)])
    tls = models.BooleanField("TLS", default=False)  # of DICOM; HTTP uses it by the URL
    url = models.CharField(
        "URL", max_length=500, blank=True
    )  # of the STOW-RS service (without /studies), or of the webhook
    secret = models.BinaryField(null=True, blank=True)  # encrypted: a bearer token, or the key of the signatures
    enabled = models.BooleanField(default=True)
    connections = models.SmallIntegerField(default=2, validators=[MinValueValidator(1), MaxValueValidator(16)])
    failures = models.IntegerField(default=0, editable=False)  # since it last answered
    paused_until = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Check that it can be reached: an AE title with host and port, or a URL."""
        if self.kind == self.Kind.DICOM and not (self.title and self.host and self.port):
            raise ValidationError("C-STORE needs an AE title, a host and a port")
        if self.kind != self.Kind.DICOM and not URL.match(self.url):
            raise ValidationError("STOW-RS and webhooks need a URL, http:// or https://")

    @property
    def address(self) -> str:
        """Return where it is, for lists."""
        return f"{self.title}@{self.host}:{self.port}" if self.kind == self.Kind.DICOM else self.url


class Rule(models.Model):
    """Which instances go to a destination. An empty field selects everything."""

    destination = models.ForeignKey(Destination, models.CASCADE, related_name="rules")
    analysis = models.CharField(max_length=40, blank=True)  # results of it; "*": of any; empty: what was received
    modality = models.CharField(max_length=16, blank=True)  # of the instance
    sop_class = models.CharField(max_length=64, blank=True)  # UID
    source_modality = models.CharField(max_length=16, blank=True)  # of a series that its study has
    enabled = models.BooleanField(default=True)

    def __str__(self) -> str:
        chosen = f"results of {self.analysis}" if self.analysis else "received images"
        chosen += f" with modality {self.modality}" if self.modality else ""
        chosen += f" with SOP class {self.sop_class}" if self.sop_class else ""
        chosen += f" on {self.source_modality}" if self.source_modality else ""
        return f"{chosen} -> {self.destination}"


class Delivery(models.Model):
    """An instance for a destination; its job sends it, once however many rules select it."""

    destination = models.ForeignKey(Destination, models.CASCADE, related_name="deliveries")
    instance = models.ForeignKey(Instance, models.CASCADE, related_name="deliveries")
    created_at = models.DateTimeField(db_default=Now())
    delivered_at = models.DateTimeField(null=True, db_index=True)  # the last time

    class Meta:
        """One delivery."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["instance", "destination"], name="one_delivery"),
        ]
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.instance} -> {self.destination}"
