"""Filters of the list."""

import re
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from elements.exceptions import InvalidParameter
from elements.measurements import NUMBER
from elements.models import Element

RANGE = ["gte", "lte"]


class StrictFloatField(forms.FloatField):
    """A finite number in ASCII; Python would also accept 1_000 and digits of other scripts."""

    def to_python(self, value: Any) -> float | None:
        """Return the number."""
        if value and not re.fullmatch(f"-?{NUMBER}", value):
            raise ValidationError("must be a number", "invalid")
        return super().to_python(value)


@extend_schema_field({"type": "number"})
class StrictNumberFilter(filters.NumberFilter):
    """Compares with a number."""

    field_class = StrictFloatField


class FilterBackend(filters.DjangoFilterBackend):
    """Skips the filter set, which costs more than the query, where the request has no filter."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        """Return the matching rows."""
        if not request.query_params.keys() & view.filterset_class.base_filters.keys():
            return queryset
        try:
            return super().filter_queryset(request, queryset, view)
        except serializers.ValidationError as error:
            raise InvalidParameter({name: reasons[0] for name, reasons in error.detail.items()}) from None


class ElementFilter(filters.FilterSet):
    """Filters by Django's lookups: `data_size__gte=100`."""

    class Meta:
        """Every field that has an index."""

        model = Element
        filter_overrides: ClassVar = {
            field: {"filter_class": StrictNumberFilter} for field in (models.FloatField, models.IntegerField)
        }
        fields: ClassVar = {
            "id": ["startswith"],
            "device_name": ["exact"],
            "average_before_normalization": RANGE,
            "average_after_normalization": RANGE,
            "data_size": RANGE,
            "created_at": RANGE,
            "updated_at": RANGE,
        }
