"""The capabilities of the services (PS3.18, 8.9) as OpenAPI and WADL, generated from the addresses and the views."""

import re
from collections.abc import Sequence
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from query.attributes import matchable_at, vr_of
from query.qido import OPTIONS, search
from query.rendered import ANNOTATIONS, FUNCTIONS, PARAMETERS, rendered, thumbnail
from query.wadl import WADL, build_wadl

DESCRIPTIONS = {
    "includefield": "attributes to return, by keyword or tag, comma-separated; `all`",
    "limit": "how many results",
    "offset": "how many results to leave out",
    "fuzzymatching": "not supported: answered with a warning",
    "charset": "of the response: utf-8",
    "accept": "instead of the Accept header",
    "annotation": f"written into the picture: {', '.join(ANNOTATIONS)}",
    "iccprofile": "colour profile: no, yes, srgb",
    "window": f"center,width,function; functions: {', '.join(FUNCTIONS)}",
    "viewport": "width,height[,x,y[,width,height]]",
    "quality": "of JPEG, 1 to 100",
}
INTEGERS = ("limit", "offset", "quality")
STATUSES = {
    "200": "OK",
    "204": "No results",
    "400": "The request is malformed",
    "401": "A session or a token is required",
    "404": "The resource does not exist, or is not visible to the reader",
    "406": "None of the accepted representations can be made",
    "503": "The database does not respond",
}
STORE_STATUSES = {
    "200": "All instances were stored",
    "202": "Some instances were stored",
    "400": "The body holds no instances",
    "401": "A token is required",
    "409": "No instance was stored",
    "415": "The body is neither application/dicom nor multipart/related",
    "503": "The database does not respond, or too many bodies are in transfer",
    "507": "The disk is full",
}


def capabilities(request: HttpRequest, resources: Sequence[URLPattern]) -> HttpResponse:
    """Describe the services as OpenAPI, or as WADL if the request prefers it."""
    document = build_document(request.build_absolute_uri(request.path), resources)
    if request.get_preferred_type(["application/json", WADL]) == WADL:
        return HttpResponse(build_wadl(document), content_type=WADL)
    return HttpResponse(orjson.dumps(document), content_type="application/json")


def build_document(base: str, resources: Sequence[URLPattern]) -> dict[str, Any]:
    """Build the OpenAPI document."""
    paths: dict[str, Any] = {}
    for resource in resources:
        route = str(resource.pattern)
        address = "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)
        names = re.findall(r"<\w+:(\w+)>", route)
        views = resource.callback.views
        paths[address] = {
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                for name in names
            ]
        }
        paths[address] |= {method.lower(): describe(view) for method, view in views.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "DICOMweb", "version": "1", "description": "QIDO-RS, WADO-RS and STOW-RS of PS3.18."},
        "servers": [{"url": base.rstrip("/")}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
        "paths": paths,
    }


def describe(view: Any) -> dict[str, Any]:
    """Describe an operation: its parameters, and the statuses that it may answer."""
    function, level = getattr(view, "func", view), str(getattr(view, "keywords", {}).get("level"))
    summary = str(function.__doc__).strip().splitlines()[0]
    if function.__name__ == "stow":
        content = {name: {"schema": {"type": "string", "format": "binary"}} for name in STORED_TYPES}
        body = {"required": True, "content": content}
        return {"summary": summary, "requestBody": body, "responses": responses(STORE_STATUSES)}
    names: list[str] = ["accept"]
    if function is search:
        names = [*OPTIONS, *matchable_at(level)]
    elif function in (rendered, thumbnail):
        names = sorted(PARAMETERS)
    return {"summary": summary, "parameters": [parameter(name) for name in names], "responses": responses(STATUSES)}


STORED_TYPES = ("application/dicom", "multipart/related")


def parameter(name: str) -> dict[str, Any]:
    """Describe a query parameter."""
    text = DESCRIPTIONS.get(name) or f"matches the attribute ({vr_of(name)})"
    schema = {"type": "integer", "minimum": 0} if name in INTEGERS else {"type": "string"}
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema}


def responses(statuses: dict[str, str]) -> dict[str, Any]:
    """Describe the responses."""
    return {status: {"description": text} for status, text in statuses.items()}
