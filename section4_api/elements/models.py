"""What is stored: elements, and the tokens of those who may use the API."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class Element(models.Model):
    """The processing result of an image: its numbers, and what the server computed of them."""

    # Compared by code points: the same order in every PostgreSQL, and the index serves a search by prefix.
    id = models.CharField(primary_key=True, max_length=64, db_collation="C")
    device_name = models.CharField(max_length=200)
    average_before_normalization = models.FloatField()
    average_after_normalization = models.FloatField()
    data_size = models.IntegerField()
    raw_data = models.JSONField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), auto_now=True)

    class Meta:
        """An index for each order that the list can have; the id, which is unique, is the last key of each."""

        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["device_name", "id"], name="element_device_name"),
            models.Index(fields=["average_before_normalization", "id"], name="element_average_before"),
            models.Index(fields=["average_after_normalization", "id"], name="element_average_after"),
            models.Index(fields=["data_size", "id"], name="element_data_size"),
            models.Index(fields=["created_at", "id"], name="element_created_at"),
            models.Index(fields=["updated_at", "id"], name="element_updated_at"),
        ]

    def __str__(self) -> str:
        return self.id


class Token(models.Model):
    """A right to use the API. Only the SHA-256 of the token is kept, so that a stolen database opens nothing."""

    class Scope(models.TextChoices):
        """What a token is good for; write includes read."""

        READ = "read"
        WRITE = "write"

    digest = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=100, unique=True)
    scope = models.CharField(max_length=5, choices=Scope)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    is_authenticated = True  # what Django REST framework asks of a user

    def __str__(self) -> str:
        return self.name
