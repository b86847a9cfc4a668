"""The OpenAPI description: what drf-spectacular cannot see in the views."""

from http import HTTPStatus
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view

from elements import payloads
from elements.measurements import PLAIN_NUMBER as NUMBER
from elements.paging import DEFAULT_SIZE, MAX_SIZE, ORDERINGS
from elements.problems import CONTENT_TYPE

View = TypeVar("View", bound=type)
Schema = dict[str, Any]

ID: Schema = {"type": "string", "pattern": rf"^{payloads.ID}$", "maxLength": 64, "examples": ["aabbcc1"]}
NAME: Schema = {
    "type": "string",
    "pattern": rf"^{payloads.NOT_CONTROL}*[^\s{payloads.CONTROL}]{payloads.NOT_CONTROL}*$",
    "maxLength": payloads.MAX_NAME,
    "examples": ["RX 1"],
}
DATA: Schema = {
    "type": "array",
    "items": {"type": "string", "pattern": rf"^[ \t]*({NUMBER}([ \t]+|$))*$"},
    "contains": {"type": "string", "pattern": "[0-9]"},
    "description": "Rows of numbers, separated by blanks or tabs; each finite and not negative.",
    "examples": [["54 26 34", "75 87 75"]],
}
AVERAGE: Schema = {"type": "number", "minimum": 0, "readOnly": True}
TIME: Schema = {"type": "string", "format": "date-time", "readOnly": True}
FIELDS: Schema = {
    "id": ID,
    "device_name": NAME,
    "average_before_normalization": AVERAGE,
    "average_after_normalization": AVERAGE | {"maximum": 1},
    "data_size": {"type": "integer", "minimum": 1, "readOnly": True},
    "raw_data": DATA | {"readOnly": True},
    "created_at": TIME,
    "updated_at": TIME,
}


def ref(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(item: Schema) -> Schema:
    """An array."""
    return {"type": "array", "items": item}


COMPONENTS: Schema = {
    "Element": {
        "type": "object",
        "description": "An element as it is stored; `fields=` chooses among its fields.",
        "properties": FIELDS,
        "additionalProperties": False,
    },
    "NewElement": {
        "type": "object",
        "description": "An element as a client sends it; `device_name` is understood too.",
        "required": ["id", "data", "deviceName"],
        "properties": {"id": ID, "data": DATA, "deviceName": NAME},
        "additionalProperties": False,
    },
    "NewElements": {
        "type": "object",
        "description": "A keyed map of elements; the keys are the client's own.",
        "additionalProperties": ref("NewElement"),
        "minProperties": 1,
        "maxProperties": payloads.MAX_ELEMENTS,
    },
    "Change": {
        "type": "object",
        "description": "What is to be otherwise; `deviceName` is understood too."
        " The other fields of an element may come along, as they are stored.",
        "anyOf": [{"required": ["id"]}, {"required": ["device_name"]}],
        "properties": FIELDS,
        "additionalProperties": False,
    },
    "Page": {
        "type": "object",
        "required": ["next", "results"],
        "properties": {
            "count": {"type": "integer", "description": "Only where `count=true` asks for it."},
            "next": {"type": ["string", "null"], "format": "uri"},
            "results": listed(ref("Element")),
        },
    },
    "Created": {
        "type": "object",
        "required": ["created", "results"],
        "properties": {"created": {"type": "integer"}, "results": listed(ref("Element"))},
    },
    "Results": {
        "type": "object",
        "required": ["created", "failed", "results"],
        "properties": {
            "created": {"type": "integer"},
            "failed": {"type": "integer"},
            "results": listed(
                {
                    "type": "object",
                    "required": ["key", "status"],
                    "properties": {
                        "key": {"type": ["string", "null"]},
                        "status": {"type": "integer"},
                        "element": ref("Element"),
                        "errors": listed(ref("Error")),
                    },
                }
            ),
        },
    },
    "Error": {
        "type": "object",
        "required": ["detail"],
        "properties": {
            "pointer": {"type": "string", "description": "JSON pointer into the body (RFC 6901)"},
            "parameter": {"type": "string", "description": "of the query string"},
            "id": {"type": "string"},
            "detail": {"type": "string"},
        },
    },
    "Problem": {
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "required": ["type", "title", "status", "detail", "instance", "request_id"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string"},
            "request_id": {"type": "string"},
            "errors": listed(ref("Error")),
            "errors_left_out": {"type": "integer"},
        },
    },
}

ONE = {"id": "aabbcc1", "data": ["54 26 34", "75 87 75"], "deviceName": "RX 1"}
TWO = {"id": "aabbcc2", "data": ["14 26 36", "78 86 78"], "deviceName": "CT SCAN"}
EXAMPLES = [
    OpenApiExample("a keyed map", {"1": ONE, "2": TWO}, request_only=True),
    OpenApiExample("one element", ONE, request_only=True),
]
RENAMES = [
    OpenApiExample("a new device name", {"device_name": "new_device_name"}, request_only=True),
    OpenApiExample("a new id", {"id": "aabbcc9"}, request_only=True),
]


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How a token is sent, in the production profile."""

    target_class = "elements.access.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> Schema:  # noqa: ARG002
        """A bearer token."""
        return {"type": "http", "scheme": "bearer", "description": "`manage.py token create` makes one."}


def query(name: str, description: str, **schema: Any) -> OpenApiParameter:
    """A parameter of the query string."""
    return OpenApiParameter(name, {"type": "string"} | schema, description=description)


def header(name: str, description: str) -> OpenApiParameter:
    """A header of the request."""
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.HEADER, description=description)


SOME_FIELD = f"({'|'.join(FIELDS)})"
FIELDS_PARAMETER = query(
    "fields",
    "Names of fields, separated by commas.",
    pattern=f"^{SOME_FIELD}(,{SOME_FIELD})*$",
    examples=["id,device_name"],
)
IF_MATCH = header("If-Match", "An entity tag; 412 where the element was changed since.")
LISTING = [
    FIELDS_PARAMETER,
    query("ordering", "The field to order by; the id unless named.", enum=list(ORDERINGS)),
    query("page_size", f"Up to {MAX_SIZE}.", type="integer", minimum=1, default=DEFAULT_SIZE),
    query("cursor", "Where a page begins; the `next` link of a page has it."),
    query("count", "Count all that match; slow where there is much.", type="boolean", default=False),
]


def problems(*codes: int) -> dict[tuple[int, str], OpenApiResponse]:
    """The problem documents that an operation may answer with."""
    every = (*codes, 401, 403, 406, 429, 503)
    return {(code, CONTENT_TYPE): OpenApiResponse(ref("Problem"), HTTPStatus(code).phrase) for code in sorted(every)}


def element(description: str) -> OpenApiResponse:
    """An answer with one element."""
    return OpenApiResponse(ref("Element"), description)


ONE_OR_MANY = {"oneOf": [ref("NewElement"), ref("NewElements")]}
CHANGING: Schema = {
    "parameters": [FIELDS_PARAMETER, IF_MATCH],
    "examples": RENAMES,
    "responses": {200: element("The element as it is now; with `Location` where its id is new.")}
    | problems(400, 404, 409, 412, 413, 415),
}


def describe(view: View) -> View:
    """Describe the operations of the resource."""
    described: View = extend_schema_view(
        list=extend_schema(
            operation_id="list",
            summary="A page of elements, or all of them as CSV or NDJSON",
            parameters=LISTING,
            responses={
                (200, "application/json"): OpenApiResponse(ref("Page"), "A page, or an export"),
                (200, "text/csv"): OpenApiTypes.STR,
                (200, "application/x-ndjson"): OpenApiTypes.STR,
            }
            | problems(400),
        ),
        create=extend_schema(
            operation_id="create",
            summary="Store one element, or every element of a map",
            request={"application/json": ONE_OR_MANY},
            examples=EXAMPLES,
            parameters=[
                FIELDS_PARAMETER,
                query("partial", "Store what is good, and tell of each element.", type="boolean", default=False),
            ],
            responses={
                201: OpenApiResponse({"oneOf": [ref("Created"), ref("Element")]}, "All were stored"),
                207: OpenApiResponse(ref("Results"), "A result for each, where `partial=true`"),
            }
            | problems(400, 409, 413, 415, 422),
        ),
        retrieve=extend_schema(
            operation_id="retrieve",
            summary="One element, with its data",
            parameters=[FIELDS_PARAMETER, header("If-None-Match", "An entity tag; 304 where it is still so.")],
            responses={200: element("The element"), 304: OpenApiResponse(description="Not Modified")}
            | problems(400, 404),
        ),
        update=extend_schema(
            operation_id="update",
            summary="Change device_name, id or both",
            request={"application/json": ref("Change")},
            **CHANGING,
        ),
        partial_update=extend_schema(
            operation_id="partial_update",
            summary="Change device_name, id or both",
            request={kind: ref("Change") for kind in ("application/json", "application/merge-patch+json")},
            **CHANGING,
        ),
        destroy=extend_schema(
            operation_id="destroy",
            summary="Remove an element",
            parameters=[IF_MATCH],
            responses={204: OpenApiResponse(description="Removed")} | problems(400, 404, 412),
        ),
    )(view)
    return described


def finish(result: Schema, **_: Any) -> Schema:
    """The components, and the links from an answer to what can be done next."""
    result.setdefault("components", {})["schemas"] = COMPONENTS
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["tags"] = ["elements"]
    elements_path, element_path = result["paths"]["/api/elements/"], result["paths"]["/api/elements/{id}/"]
    elements_path["get"]["responses"]["200"]["content"]["application/json"]["schema"] = ref("Page")
    for described in elements_path["get"]["parameters"]:
        if described["name"] in ("device_name", "id__startswith"):
            described["schema"]["pattern"] = r"^[^\u0000]*$"
    for operation in (elements_path["post"], element_path["put"], element_path["patch"]):
        operation["requestBody"]["required"] = True
    for operation in element_path.values():
        for described in operation["parameters"]:
            if described["name"] == "id":
                described["schema"] = ID
    created = {"id": "$response.body#/id"}
    elements_path["post"]["responses"]["201"]["links"] = {
        operation: {"operationId": operation, "parameters": created}
        for operation in ("retrieve", "update", "partial_update", "destroy")
    }
    for method in ("put", "patch"):
        element_path[method]["responses"]["200"]["links"] = {
            operation: {"operationId": operation, "parameters": created} for operation in ("retrieve", "destroy")
        }
    return result
