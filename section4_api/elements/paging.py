"""Pages by key: each page begins behind the last row of the one before, wherever in a million that is."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from elements import queries
from elements.models import Element
from elements.problems import Problem

DEFAULT_SIZE, MAX_SIZE = 100, 1000
ORDERINGS = (*queries.WITHOUT_DATA, *(f"-{field}" for field in queries.WITHOUT_DATA))


class KeysetPagination(BasePagination):
    """`next` leads to the page behind this one; `count=true` counts, which takes long where there is much."""

    def paginate_queryset(
        self, queryset: QuerySet[Element], request: Request, view: Any = None
    ) -> list[dict[str, Any]]:
        """The rows of the page that the query string asks for, as they are shown."""
        fields: Sequence[str] = view.fields()
        self._url = request.build_absolute_uri()
        self._ordering = ordering(request)
        size = page_size(request)
        self._count = queryset.count() if flag(request, "count") else None
        cursor = request.query_params.get("cursor")
        behind = None if cursor is None else decode(cursor, self._ordering)
        key = self._ordering.removeprefix("-")
        wanted = tuple(dict.fromkeys((*fields, key, "id")))
        found = queries.page(queryset, wanted, self._ordering, behind, size + 1)
        self._next = encode(self._ordering, found[size - 1][key], found[size - 1]["id"]) if len(found) > size else None
        page = found[:size]
        if len(wanted) > len(fields):
            page = [{field: row[field] for field in fields} for row in page]
        return page

    def get_paginated_response(self, data: Any) -> Response:
        """The page, and the way to the next."""
        next_url = replace_query_param(self._url, "cursor", self._next) if self._next else None
        counted = {} if self._count is None else {"count": self._count}
        return Response({**counted, "next": next_url, "results": data})


def ordering(request: Request) -> str:
    """The field to order by, `-` before it for the other way round; the id unless asked."""
    name = request.query_params.get("ordering", "id")
    if name not in ORDERINGS:
        detail = f"must be one of {', '.join(queries.WITHOUT_DATA)}, or one of them with - before it"
        raise parameter("ordering", detail)
    return name


def encode(name: str, value: Any, id_: str) -> str:
    """A place as text that a URL carries."""
    return base64.urlsafe_b64encode(orjson.dumps([name, value, id_])).rstrip(b"=").decode()


def decode(cursor: str, name: str) -> tuple[Any, str]:
    """The place that a cursor stands for.

    Raises:
        Problem: 400, it is none of ours, or of another order.

    """
    try:
        made_for, value, id_ = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        value = Element._meta.get_field(name.removeprefix("-")).to_python(value)
    except (ValueError, TypeError, binascii.Error, ValidationError):
        raise parameter("cursor", "is none that this server gave; take the one of the next link") from None
    if made_for != name or not isinstance(id_, str) or value is None or "\0" in f"{value}{id_}":
        raise parameter("cursor", f"does not belong to a list ordered by {name}")
    return value, id_


def page_size(request: Request) -> int:
    """How many rows: up to 1000, also where more are asked for."""
    text = request.query_params.get("page_size", str(DEFAULT_SIZE))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise parameter("page_size", f"must be a whole number from 1; more than {MAX_SIZE} is taken as {MAX_SIZE}")
    return min(int(text), MAX_SIZE)


def flag(request: Request, name: str) -> bool:
    """A parameter that is true or false."""
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise parameter(name, "must be true or false")
    return text == "true"


def parameter(name: str, detail: str) -> Problem:
    """400 for a parameter of the query string."""
    return Problem(400, f"the parameter {name} {detail}", [{"parameter": name, "detail": detail}])
