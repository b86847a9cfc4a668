"""The resource /api/elements/."""

from typing import Any

from django.http import FileResponse, HttpResponse
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.http import parse_etags
from drf_spectacular.utils import extend_schema_view
from rest_framework import status
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ModelViewSet

from elements import schema, services
from elements.exceptions import InvalidParameter, PreconditionFailed, choose_status, iterate_errors
from elements.filters import ElementFilter
from elements.models import ID_PATTERN, Element
from elements.pagination import KeysetPagination, get_flag, get_ordering, order
from elements.renderers import CSVRenderer, NDJSONRenderer
from elements.serializers import ChangeSerializer, ElementSerializer, NewElementSerializer, is_keyed_map


@extend_schema_view(**schema.OPERATIONS)
class ElementViewSet(ModelViewSet):
    """Elements: created one by one or as a map, listed by pages, exported, renamed, deleted."""

    queryset = services.SELECTED[services.LIST_FIELDS]
    filterset_class = ElementFilter
    lookup_value_regex = ID_PATTERN.strip("^").removesuffix(r"\Z")

    def get_serializer_class(self) -> type[BaseSerializer]:
        """Return the serializer of the method's input; the output is always an ElementSerializer's."""
        inputs = {"POST": NewElementSerializer, "PUT": ChangeSerializer, "PATCH": ChangeSerializer}
        return inputs.get(self.request.method, ElementSerializer)

    def get_renderers(self) -> list[BaseRenderer]:
        """Return JSON (and the browsable API in development); the list can be exported, too."""
        exports = [CSVRenderer(), NDJSONRenderer()] if getattr(self, "action", None) == "list" else []
        return [*super().get_renderers(), *exports]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse unknown and repeated parameters: a misspelt filter must not return everything."""
        super().initial(request, *args, **kwargs)
        if self.action is None:  # 405
            return
        known = {"format"} if self.action == "destroy" else {"fields", "format"}
        if self.action == "list":
            known |= {*self.filterset_class.base_filters, *KeysetPagination.parameters}
        elif self.action == "create":
            known |= {"partial"}
        # The filter form of the browsable API sends every filter.
        refused = [] if request.accepted_renderer.format == "api" else [""]
        wrong = {
            name: "is not known" if name not in known else "is repeated or empty"
            for name, values in request.query_params.lists()
            if name not in known or len(values) > 1 or values == refused
        }
        if wrong:
            raise InvalidParameter(wrong)

    def get_fields(self, default: tuple[str, ...] = services.LIST_FIELDS) -> tuple[str, ...]:
        """Return the fields that the query string selects."""
        text = self.request.query_params.get("fields")
        fields = default if text is None else tuple(dict.fromkeys(text.split(",")))
        if not set(fields) <= set(services.FIELDS):
            raise InvalidParameter({"fields": f"must be names of {', '.join(services.FIELDS)}, separated by commas"})
        return fields

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response | FileResponse:  # noqa: ARG002
        """Return a page by `.values()`, without a serializer for each row, or an export."""
        queryset = self.filter_queryset(self.get_queryset())
        kind = request.accepted_renderer.format
        if kind not in ("csv", "ndjson"):
            return self.get_paginated_response(self.paginate_queryset(queryset))
        if paged := request.query_params.keys() & {"page_size", "cursor", "count"}:
            raise InvalidParameter(dict.fromkeys(paged, "does not apply to an export, which holds every row"))
        file = services.export_elements(order(queryset, get_ordering(request)), self.get_fields(), kind)
        content_type = f"{request.accepted_renderer.media_type}; charset=utf-8"
        return FileResponse(file, as_attachment=True, filename=f"elements.{kind}", content_type=content_type)

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002
        """Store an element, or a keyed map: all or nothing, unless `partial=true`."""
        many = is_keyed_map(request.data)
        fields = self.get_fields(services.LIST_FIELDS if many else services.FIELDS)
        partial = get_flag(request, "partial") and many
        context = self.get_serializer_context() | {"partial": partial}
        serializer = NewElementSerializer(data=request.data, many=many, context=context)
        serializer.is_valid(raise_exception=True)
        created = serializer.save()
        if partial:
            outcome = build_results(request.data, created, serializer.failures, fields)
            return Response(outcome, status.HTTP_207_MULTI_STATUS)
        if many:
            results = [{name: element[name] for name in fields} for element in created.values()]
            return Response({"created": len(created), "results": results}, status.HTTP_201_CREATED)
        return self.respond(created, fields, status.HTTP_201_CREATED)

    def retrieve(self, request: Request, pk: str) -> HttpResponse:
        """Return an element; 304 for If-None-Match."""
        fields = self.get_fields(services.FIELDS)
        queryset = services.SELECTED[services.FIELDS if "raw_data" in fields else services.LIST_FIELDS]
        response = self.respond(services.get_element(pk, queryset), fields)
        conditional = get_conditional_response(request._request, response["ETag"], response=response)
        if conditional.status_code == status.HTTP_412_PRECONDITION_FAILED:
            raise PreconditionFailed
        return conditional

    def update(self, request: Request, pk: str, partial: bool = False) -> Response:  # noqa: ARG002
        """Change device_name, id or both; PUT and PATCH name only what changes."""
        fields = self.get_fields(services.FIELDS)
        serializer = ChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)

        def check(element: Element) -> None:
            check_preconditions(request, element)
            serializer.check_expected(element)

        element = services.change_element(pk, serializer.validated_data, check)
        return self.respond({name: getattr(element, name) for name in services.FIELDS}, fields)

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete an element."""
        services.delete_element(pk, lambda element: check_preconditions(request, element))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def respond(self, element: dict[str, Any], fields: tuple[str, ...], code: int = status.HTTP_200_OK) -> Response:
        """Return a response with one element, its entity tag, and its location if that is new."""
        headers = {"ETag": build_etag(element["updated_at"]), "Cache-Control": "no-cache"}
        if element["id"] != self.kwargs.get("pk"):
            headers["Location"] = reverse("element-detail", args=[element["id"]])
        return Response({name: element[name] for name in fields}, code, headers=headers)


def build_etag(updated_at: Any) -> str:
    """Return the entity tag: the time of the last change, which no two versions share."""
    return f'"{round(updated_at.timestamp() * 1_000_000):x}"'


def check_preconditions(request: Request, element: Element) -> None:
    """Raise PreconditionFailed where If-Match names another version (RFC 9110, section 13.1).

    Django ignores a malformed If-Match, and would change what the client wanted to protect.
    """
    given = request.headers.get("If-Match", "*")
    if len(parse_etags(given)) < len(given.split(",")):
        raise PreconditionFailed('If-Match must be * or entity tags in quotes, such as "661474b9146e8"')
    if get_conditional_response(request._request, build_etag(element.updated_at)) is not None:
        raise PreconditionFailed


def build_results(
    sent: dict[str, Any], stored: dict[str, Any], failures: dict[str, Any], fields: tuple[str, ...]
) -> dict[str, Any]:
    """Return the outcome of each element of a map, in its order."""
    results: list[dict[str, Any]] = []
    for key, element in sent.items():
        if key in failures:
            errors = list(iterate_errors(failures[key], (key,)))
            results.append({"key": key, "status": choose_status(errors), "errors": errors})
        else:
            created = stored[element["id"]]
            results.append({"key": key, "status": 201, "element": {name: created[name] for name in fields}})
    return {"created": len(stored), "failed": len(failures), "results": results}
