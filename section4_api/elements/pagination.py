"""Keyset pages: each begins after the last row of the one before.

Django REST framework's CursorPagination compares one field and skips its ties by an offset, so that a page among a
million elements of 50 devices reads up to 20,000 rows, and rows that come or go between pages move others. Here
PostgreSQL compares (field, id), which the index of the same fields answers directly.
"""

from datetime import datetime
from typing import Any

from django.core import signing
from django.db.models import QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from elements.exceptions import InvalidParameter
from elements.services import LIST_FIELDS

DEFAULT_SIZE, MAX_SIZE = 100, 1000
ORDERINGS = (*LIST_FIELDS, *(f"-{name}" for name in LIST_FIELDS))


class KeysetPagination(BasePagination):
    """`next` is the URL of the following page; `count=true` counts, which takes long for many rows."""

    parameters = ("ordering", "page_size", "cursor", "count")

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[dict[str, Any]]:
        """Return the page that the query string asks for, as dictionaries of the view's fields.

        The queryset yields dictionaries of LIST_FIELDS.
        """
        fields = view.get_fields()
        ordering = get_ordering(request)
        keys = get_keys(ordering)
        size = get_page_size(request)
        self.url = request.build_absolute_uri()
        self.count = queryset.count() if get_flag(request, "count") else None
        if cursor := request.query_params.get("cursor"):
            beyond = TupleLessThan if ordering.startswith("-") else TupleGreaterThan
            queryset = queryset.filter(beyond(Tuple(*keys), decode_cursor(cursor, ordering)))
        selected = tuple(dict.fromkeys((*fields, *keys)))
        queryset = order(queryset, ordering)
        rows = list((queryset if selected == LIST_FIELDS else queryset.values(*selected))[: size + 1])
        page = rows[:size]
        self.cursor = encode_cursor(ordering, [page[-1][key] for key in keys]) if len(rows) > size else None
        if page and len(page[0]) > len(fields):
            page = [{name: row[name] for name in fields} for row in page]
        return page

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page, with the URL of the next."""
        next_url = replace_query_param(self.url, "cursor", self.cursor) if self.cursor else None
        count = {} if self.count is None else {"count": self.count}
        return Response({**count, "next": next_url, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe a page."""
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {
                "count": {"type": "integer", "description": "With `count=true` only."},
                "next": {"type": ["string", "null"], "format": "uri"},
                "results": schema,
            },
        }


def get_keys(ordering: str) -> tuple[str, ...]:
    """Return the fields that a list is ordered by; the last is the id."""
    return tuple(dict.fromkeys((ordering.removeprefix("-"), "id")))


def order(queryset: QuerySet[Any], ordering: str) -> QuerySet[Any]:
    """Order a queryset, with the id as the last key."""
    sign = "-" if ordering.startswith("-") else ""
    return queryset.order_by(*(f"{sign}{key}" for key in get_keys(ordering)))


def get_ordering(request: Request) -> str:
    """Return the field to order by, with `-` in front for descending."""
    name = request.query_params.get("ordering", "id")
    if name not in ORDERINGS:
        raise InvalidParameter({"ordering": f"must be one of {', '.join(LIST_FIELDS)}, with - in front for descending"})
    return name


def encode_cursor(ordering: str, key: list[Any]) -> str:
    """Return the key of a row as text for a URL; signed, so that every cursor that comes back is one of ours."""
    values = [value.isoformat() if isinstance(value, datetime) else value for value in key]
    return signing.dumps([ordering, *values], salt="keyset")


def decode_cursor(cursor: str, ordering: str) -> list[Any]:
    """Return the key of a cursor that this server made for the same order."""
    try:
        made_for, *key = signing.loads(cursor, salt="keyset")
    except signing.BadSignature:
        raise InvalidParameter({"cursor": "must be the one of a next URL"}) from None
    if made_for != ordering:
        raise InvalidParameter({"cursor": f"does not belong to a list ordered by {ordering}"})
    return key


def get_page_size(request: Request) -> int:
    """Return how many rows a page has; more than the maximum is the maximum."""
    text = request.query_params.get("page_size", str(DEFAULT_SIZE)).lstrip("0")
    if not (text.isascii() and text.isdecimal()):
        raise InvalidParameter(
            {"page_size": f"must be a whole number from 1; more than {MAX_SIZE} counts as {MAX_SIZE}"}
        )
    return min(int(text[:9]), MAX_SIZE)


def get_flag(request: Request, name: str) -> bool:
    """Return a parameter that is true or false."""
    text = request.query_params.get(name, "false").lower()
    if text not in ("true", "false"):
        raise InvalidParameter({name: "must be true or false"})
    return text == "true"
