"""What a list can be narrowed to."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework.request import Request

from elements.models import Element
from elements.problems import Problem

RANGE = ["gte", "lte"]
NOT_FILTERS = {"fields", "format", "ordering", "page_size", "cursor", "count"}


class ElementFilter(filters.FilterSet):
    """Filters by the names that Django gives them: `data_size__gte=100`."""

    class Meta:
        """Every column that has an index."""

        model = Element
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
