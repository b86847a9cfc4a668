"""The element: the processing result of an image."""

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, ProhibitNullCharactersValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from elements.measurements import NumberError, measure

MAX_NUMBERS = 1_000_000  # of one element
CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
ID_PATTERN = r"^(?!\.{1,2}$)[A-Za-z0-9._~-]+\Z"  # what a URL carries without escaping (RFC 3986, section 2.3)
NAME_PATTERN = rf"^[^{CONTROL}]*[^\s{CONTROL}][^{CONTROL}]*\Z"

validate_id = RegexValidator(ID_PATTERN, "must consist of the characters A-Z a-z 0-9 . _ ~ -, and not be . or ..")
validate_name = RegexValidator(NAME_PATTERN, "must not be blank and must not contain control characters")


def validate_rows(rows: object) -> None:
    """Raise ValidationError unless the value is a list of rows of numbers."""
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        raise ValidationError('must be a list of strings such as ["54 26 34", "75 87 75"]')
    try:
        measure(rows, MAX_NUMBERS)
    except NumberError as error:
        raise ValidationError(str(error)) from None


class Element(models.Model):
    """The processing result of an image: its numbers, and what the server computes from them."""

    # Compared by code points: the same order in every PostgreSQL, and the primary key's index serves prefix searches.
    id = models.CharField(
        primary_key=True,
        max_length=64,
        db_collation="C",
        validators=[validate_id],
        help_text="Chosen by the client; 1 to 64 unreserved URL characters.",
    )
    device_name = models.CharField(max_length=200, validators=[ProhibitNullCharactersValidator(), validate_name])
    average_before_normalization = models.FloatField(validators=[MinValueValidator(0)])
    average_after_normalization = models.FloatField(
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="The average after normalization to 0 to 1 by the maximum.",
    )
    data_size = models.IntegerField(validators=[MinValueValidator(1)], help_text="How many numbers the data hold.")
    raw_data = models.JSONField(validators=[validate_rows])
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), auto_now=True)

    # Set by the server; a client may send them back unchanged.
    COMPUTED = (
        *("average_before_normalization", "average_after_normalization", "data_size"),
        *("raw_data", "created_at", "updated_at"),
    )

    class Meta:
        """An index for each order of the list, with the unique id as its last key; constraints as the validators."""

        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["device_name", "id"], name="element_device_name"),
            models.Index(fields=["average_before_normalization", "id"], name="element_average_before"),
            models.Index(fields=["average_after_normalization", "id"], name="element_average_after"),
            models.Index(fields=["data_size", "id"], name="element_data_size"),
            models.Index(fields=["created_at", "id"], name="element_created_at"),
            models.Index(fields=["updated_at", "id"], name="element_updated_at"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id__regex=ID_PATTERN), name="element_id_is_valid"),
            models.CheckConstraint(condition=Q(device_name__regex=NAME_PATTERN), name="element_name_is_valid"),
            models.CheckConstraint(condition=Q(data_size__gte=1), name="element_size_is_positive"),
            models.CheckConstraint(
                condition=Q(average_before_normalization__gte=0)
                & Q(average_after_normalization__gte=0, average_after_normalization__lte=1),
                name="element_averages_are_in_range",
            ),
        ]

    def __str__(self) -> str:
        return self.id
