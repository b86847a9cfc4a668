"""What a list can be narrowed to."""

import re
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework.request import Request

from elements.measurements import NUMBER
from elements.models import Element
from elements.problems import Problem

RANGE = ["gte", "lte"]
NOT_FILTERS = {"fields", "format", "ordering", "page_size", "cursor", "count"}


class Number(forms.FloatField):
    """A finite number, by the rule that the data follow; also a negative one, below which there is nothing."""

    def to_python(self, value: Any) -> float | None:
        """The number."""
        if value and not re.fullmatch(f"-?{NUMBER}", value):
            raise ValidationError("must be a number")
        return super().to_python(value)


class WholeNumber(forms.IntegerField):
    """A whole number in ASCII digits."""

    def to_python(self, value: Any) -> int | None:
        """The number."""
        if value and not re.fullmatch("-?[0-9]{1,100}", value):
            raise ValidationError("must be a whole number")
        return super().to_python(value)


class NumberFilter(filters.NumberFilter):
    """Compares with a number."""

    field_class = Number


class WholeNumberFilter(filters.NumberFilter):
    """Compares with a whole number."""

    field_class = WholeNumber


class ElementFilter(filters.FilterSet):
    """Filters by the names that Django gives them: `data_size__gte=100`."""

    class Meta:
        """Every column that has an index."""

        model = Element
        filter_overrides: ClassVar = {
            models.FloatField: {"filter_class": NumberFilter},
            models.IntegerField: {"filter_class": WholeNumberFilter},
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


class StrictFilterBackend(filters.DjangoFilterBackend):
    """django-filter, but an unknown parameter is an error: a misspelt filter must not answer with everything."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        """The rows that the query string asks for."""
        asked = request.query_params.keys() - NOT_FILTERS
        if not asked:
            return queryset
        refuse_unknown(request, {*view.filterset_class.base_filters, *NOT_FILTERS})
        if empty := sorted(name for name in asked if not request.query_params[name]):
            raise Problem(400, "a filter needs a value", [{"parameter": name, "detail": "is empty"} for name in empty])
        filterset = self.get_filterset(request, queryset, view)
        if not filterset.is_valid():
            errors = [{"parameter": name, "detail": " ".join(messages)} for name, messages in filterset.errors.items()]
            raise Problem(400, "the query string cannot be understood", errors)
        return filterset.qs


def refuse_unknown(request: Request, known: set[str]) -> None:
    """400 for a parameter that is not known, and for one that is given twice."""
    errors = [
        {"parameter": name, "detail": "is given twice" if name in known else "is not known"}
        for name, values in request.query_params.lists()
        if name not in known or len(values) > 1
    ]
    if errors:
        raise Problem(400, f"the parameters here are {', '.join(sorted(known))}", errors)
