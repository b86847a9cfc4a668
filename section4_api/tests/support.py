"""What the tests share."""

import json
import os
import shutil
from typing import Any

import pytest
from django.test import Client

ELEMENTS = "/api/elements/"


def element(id_: str, *rows: str, **fields: Any) -> dict[str, Any]:
    """An element as a client sends it."""
    return {"id": id_, "data": list(rows or ("54 26 34", "75 87 75")), "deviceName": "RX 1"} | fields


def keyed(*elements: Any) -> dict[str, Any]:
    """The map of section 3."""
    return {str(number): one for number, one in enumerate(elements, 1)}


def send(api: Client, method: str, path: str, body: Any, **headers: str) -> Any:
    """A request with a JSON body; bytes go as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers.setdefault("content_type", "application/json")
    content_type = headers.pop("content_type")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.generic(method, path, data, content_type=content_type, headers=named)


def post(api: Client, body: Any, query: str = "", **headers: str) -> Any:
    return send(api, "POST", ELEMENTS + query, body, **headers)


def store(api: Client, *ids: str, **fields: Any) -> None:
    assert post(api, keyed(*(element(id_, **fields) for id_ in ids))).status_code == 201


def path(id_: str) -> str:
    return f"{ELEMENTS}{id_}/"


def stored_ids(api: Client) -> list[str]:
    return [row["id"] for row in api.get(f"{ELEMENTS}?fields=id&page_size=1000").json()["results"]]


def problem(response: Any, status: int) -> dict[str, Any]:
    """The problem document of a response, which must be one with this status."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["request_id"] == response["X-Request-ID"]
    assert {"type", "title", "detail", "instance"} <= document.keys()
    return document


def pointers(response: Any, status: int) -> list[str]:
    return [error["pointer"] for error in problem(response, status)["errors"]]


def needs(program: str, *others: str) -> str:
    """Where a program is, or another that does; without one a test is skipped, and fails where CI is set."""
    for name in (program, *others):
        if found := shutil.which(name):
            return found
    missing = f"needs {program}: apt install {program}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
