"""The resource /api/elements/."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import IO, Any

from django.http import FileResponse, HttpRequest
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from elements import queries, schema
from elements.filters import ElementFilter, refuse_unknown
from elements.models import Element
from elements.paging import KeysetPagination, flag, ordering, parameter
from elements.payloads import ID, NewElement, read_change, read_json, read_new
from elements.problems import Fault, Problem, faulty
from elements.renderers import CSVRenderer, Export, JSONRenderer, NDJSONRenderer

JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"


@schema.describe
class ElementViewSet(GenericViewSet):
    """Elements: created one by one or as a map, listed by pages, exported whole, renamed, removed."""

    queryset = Element.objects.all()
    filterset_class = ElementFilter
    pagination_class = KeysetPagination
    lookup_value_regex = ID

    def get_renderers(self) -> list[Any]:
        """JSON everywhere; the list can be exported too."""
        exports = [CSVRenderer(), NDJSONRenderer()] if self.action == "list" else []
        return [JSONRenderer(), *exports]

    def fields(self) -> tuple[str, ...]:
        """The fields that the query string asks for; unless it does, all, of which a list leaves the data out."""
        text = self.request.query_params.get("fields")
        if text is None:
            return queries.WITHOUT_DATA if self.action == "list" else queries.FIELDS
        fields = tuple(dict.fromkeys(text.split(",")))
        if not set(fields) <= set(queries.FIELDS):
            raise parameter("fields", f"must be names out of {', '.join(queries.FIELDS)}, separated by commas")
        return fields

    def list(self, request: Request) -> Response | FileResponse:
        """A page of elements, or all of them as CSV or NDJSON."""
        found = self.filter_queryset(self.get_queryset())
        if not isinstance(request.accepted_renderer, Export):
            return self.get_paginated_response(self.paginate_queryset(found))
        if paged := request.query_params.keys() & {"page_size", "cursor", "count"}:
            raise parameter(min(paged), "has no meaning in an export, which holds every row")
        kind = request.accepted_renderer.format
        file = queries.export(found, self.fields(), ordering(request), kind)
        return sent_file(file, f"elements.{kind}", f"{request.accepted_renderer.media_type}; charset=utf-8")

    def create(self, request: Request) -> Response:
        """Store one element, or every element of a map: all or, unless `partial=true`, none."""
        refuse_unknown(request, {"partial", "fields", "format"})
        partial = flag(request, "partial")
        fields = self.fields()
        sent = read_new(read_json(request._request, JSON))
        good = [element for element in sent.values() if isinstance(element, NewElement)]
        if len(good) < len(sent) and not partial:
            faults = (faults for faults in sent.values() if isinstance(faults, list))
            raise faulty([fault for found in faults for fault in found], "nothing was stored")
        stored = queries.insert(good, all_or_nothing=not partial) if good else {}
        if None not in sent and "fields" not in request.query_params:
            fields = queries.WITHOUT_DATA
        if partial:
            return Response(results(sent, stored, fields), status.HTTP_207_MULTI_STATUS)
        if good[0].key is None:
            return answer_with(shown(good[0], stored[good[0].id]), fields, status.HTTP_201_CREATED)
        told = [chosen(shown(element, stored[element.id]), fields) for element in good]
        return Response({"created": len(good), "results": told}, status.HTTP_201_CREATED)

    def retrieve(self, request: Request, pk: str) -> Response:
        """One element, with its data."""
        refuse_unknown(request, {"fields", "format"})
        answer = self.whole(pk, self.fields())
        if tag_listed(request.headers.get("If-None-Match"), answer["ETag"], weakly=True):
            answer.data, answer.status_code = None, status.HTTP_304_NOT_MODIFIED
        return answer

    def update(self, request: Request, pk: str) -> Response:
        """Change device_name, id or both."""
        return self.changed(request, pk, JSON)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change device_name, id or both."""
        return self.changed(request, pk, JSON, MERGE_PATCH)

    def destroy(self, request: Request, pk: str) -> Response:
        """Remove an element."""
        refuse_unknown(request, {"format"})
        queries.delete(pk, if_match(request._request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def options(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        """What can be done here, in the header Allow."""
        return Response(status=status.HTTP_204_NO_CONTENT)

    def changed(self, request: Request, pk: str, *media_types: str) -> Response:
        """What PUT and PATCH do; both name only what is to be otherwise."""
        refuse_unknown(request, {"fields", "format"})
        fields = self.fields()
        asked = read_change(read_json(request._request, *media_types))
        id_ = queries.change(pk, asked, if_match(request._request))
        answer = self.whole(id_, fields)
        if id_ != pk:
            answer["Location"] = place(id_)
        return answer

    def whole(self, id_: str, fields: tuple[str, ...], code: int = status.HTTP_200_OK) -> Response:
        """An answer with one element as it is stored."""
        found = queries.one(id_, tuple(dict.fromkeys((*fields, "id", "updated_at"))))
        if found is None:
            raise Problem(404, f"there is no element {id_}")
        return answer_with(found, fields, code)


def answer_with(element: dict[str, Any], fields: tuple[str, ...], code: int) -> Response:
    """An answer with one element and its entity tag."""
    headers = {"ETag": entity_tag(element["updated_at"]), "Cache-Control": "no-cache"}
    if code == status.HTTP_201_CREATED:
        headers["Location"] = place(element["id"])
    return Response(chosen(element, fields), code, headers=headers)


def place(id_: str) -> str:
    """The address of an element."""
    return f"/api/elements/{id_}/"


def entity_tag(updated_at: datetime) -> str:
    """The entity tag of an element: when it was changed last, which no two of its versions share."""
    return f'"{round(updated_at.timestamp() * 1_000_000):x}"'


def tag_listed(header: str | None, tag: str, *, weakly: bool = False) -> bool:
    """Whether If-Match or If-None-Match names a tag (RFC 9110, 13.1)."""
    listed = [part.strip() for part in (header or "").split(",")]
    return "*" in listed or tag in listed or (weakly and f"W/{tag}" in listed)


def if_match(request: HttpRequest) -> Callable[[datetime], None]:
    """The precondition of a request: 412 where somebody was faster."""

    def check(updated_at: datetime) -> None:
        header = request.headers.get("If-Match")
        tag = entity_tag(updated_at)
        if header is not None and not tag_listed(header, tag):
            raise Problem(412, "the element was changed since you read it; read it again", headers={"ETag": tag})

    return check


def sent_file(file: IO[bytes], name: str, content_type: str) -> FileResponse:
    """A download of a whole file, from its start."""
    size = file.tell()
    file.seek(0)
    answer = FileResponse(file, as_attachment=True, filename=name, content_type=content_type)
    answer["Content-Length"] = str(size)
    answer.block_size = 1 << 20
    return answer


def shown(element: NewElement, created_at: datetime) -> dict[str, Any]:
    """A new element as it is stored."""
    values = (element.id, element.device_name, *element.measured, element.rows, created_at, created_at)
    return dict(zip(queries.FIELDS, values, strict=True))


def chosen(element: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """These fields of an element."""
    return {field: element[field] for field in fields}


def results(
    sent: dict[str | None, NewElement | list[Fault]], stored: dict[str, datetime], fields: Sequence[str]
) -> dict[str, Any]:
    """What became of each element of a body of which some may have failed, in the body's order."""
    told: list[dict[str, Any]] = []
    for key, element in sent.items():
        if isinstance(element, list):
            problem = faulty(element)
            told.append({"key": key, "status": problem.status, "errors": problem.errors})
        elif element.id not in stored:
            told.append({"key": key, "status": 409, "errors": [queries.taken(element)]})
        else:
            told.append({"key": key, "status": 201, "element": chosen(shown(element, stored[element.id]), fields)})
    return {"created": len(stored), "failed": len(told) - len(stored), "results": told}
