"""The OpenAPI description of what drf-spectacular cannot read from the serializers: the map, exports, headers."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework import serializers

from elements.exceptions import CONTENT_TYPE
from elements.pagination import DEFAULT_SIZE, MAX_SIZE, ORDERINGS
from elements.serializers import MAX_ELEMENTS, ElementSerializer, NewElementSerializer
from elements.services import FIELDS


class BearerScheme(KnoxTokenScheme):  # type: ignore[no-untyped-call]
    """How a token is sent, in the production profile."""

    target_class = "elements.permissions.BearerAuthentication"


class NewElements(serializers.Serializer):
    """A keyed map of elements; the keys are chosen by the client."""


class NewElementsExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """A map has no fields of its own."""

    target_class = NewElements

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return the schema of the map."""
        element = auto_schema.resolve_serializer(NewElementSerializer, direction)
        return {
            "type": "object",
            "description": NewElements.__doc__,
            "additionalProperties": element.ref,
            "minProperties": 1,
            "maxProperties": MAX_ELEMENTS,
        }


class Error(serializers.Serializer):
    """What is wrong, and where."""

    pointer = serializers.CharField(required=False, help_text="A JSON pointer into the body (RFC 6901).")
    parameter = serializers.CharField(required=False, help_text="A parameter of the query string.")
    code = serializers.CharField()
    detail = serializers.CharField()


class Problem(serializers.Serializer):
    """A problem document (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    request_id = serializers.CharField()
    errors = Error(many=True, required=False)
    errors_omitted = serializers.IntegerField(required=False)


class Created(serializers.Serializer):
    """The elements of a map that was stored."""

    created = serializers.IntegerField()
    results = ElementSerializer(many=True)


class Result(serializers.Serializer):
    """The outcome of one element of a map."""

    key = serializers.CharField()
    status = serializers.IntegerField()
    element = ElementSerializer(required=False)
    errors = Error(many=True, required=False)


class Results(serializers.Serializer):
    """The outcome of each element of a map."""

    created = serializers.IntegerField()
    failed = serializers.IntegerField()
    results = Result(many=True)


def problems(*codes: int) -> dict[tuple[int, str], OpenApiResponse]:
    """Return the problem documents of an operation."""
    every = sorted({*codes, 400, 401, 403, 406, 429, 503})
    return {(code, CONTENT_TYPE): OpenApiResponse(Problem, HTTPStatus(code).phrase) for code in every}


def close_components(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Declare that elements have no other properties and bodies are required, which drf-spectacular cannot know."""
    for name in ("Element", "NewElement", "Change"):
        result["components"]["schemas"][name]["additionalProperties"] = False
    result["components"]["schemas"]["Change"]["minProperties"] = 1
    for operations in result["paths"].values():
        for operation in operations.values():
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
    return result


ONE = {"id": "aabbcc1", "data": ["54 26 34", "75 87 75"], "deviceName": "RX 1"}
TWO = {"id": "aabbcc2", "data": ["14 26 36", "78 86 78"], "deviceName": "CT SCAN"}
NEW_ELEMENT_OR_MAP = PolymorphicProxySerializer("NewElementOrMap", [NewElementSerializer, NewElements], None)
CREATED_OR_ELEMENT = PolymorphicProxySerializer("CreatedOrElement", [Created, ElementSerializer], None)
NAME = f"({'|'.join(FIELDS)})"
SELECTED = OpenApiParameter(
    "fields",
    {"type": "string", "pattern": f"^{NAME}(,{NAME})*$"},
    description="Names of fields, separated by commas.",
)
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="An entity tag; 412 if the element was changed since."
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="An entity tag; 304 if the element is unchanged."
)
PARTIAL = OpenApiParameter(
    "partial", bool, description="Store the valid elements and return an outcome for each (207)."
)
PAGE = [
    OpenApiParameter("ordering", enum=ORDERINGS, default="id"),
    OpenApiParameter(
        "page_size",
        {"type": "integer", "minimum": 1},
        description=f"{DEFAULT_SIZE} by default, {MAX_SIZE} at most; not for exports.",
    ),
    OpenApiParameter("cursor", {"type": "string", "minLength": 1}, description="From the `next` URL."),
    OpenApiParameter("count", bool, description="Count all matching elements."),
]
CHANGE = extend_schema(
    summary="Change device_name, id or both",
    description="PUT and PATCH name only what changes.",
    parameters=[SELECTED, IF_MATCH],
    examples=[
        OpenApiExample("a new device name", {"device_name": "new_device_name"}, request_only=True),
        OpenApiExample("a new id", {"id": "aabbcc9"}, request_only=True),
    ],
    responses={200: ElementSerializer} | problems(404, 409, 412, 413, 415),
)
OPERATIONS = {
    "list": extend_schema(
        summary="A page of elements; all of them as CSV or NDJSON with Accept: text/csv or application/x-ndjson",
        # Exports are not listed as responses: generated clients decode every 200 of an operation in one way.
        parameters=[SELECTED, *PAGE, OpenApiParameter("format", exclude=True)],
        responses={(200, "application/json"): ElementSerializer(many=True)} | problems(),
    ),
    "create": extend_schema(
        summary="Store one element, or every element of a map",
        parameters=[SELECTED, PARTIAL],
        request={"application/json": NEW_ELEMENT_OR_MAP},
        examples=[
            OpenApiExample("a keyed map", {"1": ONE, "2": TWO}, request_only=True),
            OpenApiExample("one element", ONE, request_only=True),
        ],
        responses={201: CREATED_OR_ELEMENT, 207: Results} | problems(409, 413, 415, 422),
    ),
    "retrieve": extend_schema(
        summary="One element, with its data",
        parameters=[SELECTED, IF_NONE_MATCH],
        responses={200: ElementSerializer, 304: OpenApiResponse(description="Not Modified")} | problems(404, 412),
    ),
    "update": CHANGE,
    "partial_update": CHANGE,
    "destroy": extend_schema(
        summary="Delete an element",
        parameters=[IF_MATCH],
        responses={204: OpenApiResponse(description="Deleted")} | problems(404, 412),
    ),
}
