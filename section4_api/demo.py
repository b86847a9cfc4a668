"""A demonstration: a client creates, lists, reads, renames and deletes an element; requests and responses are shown."""

import contextlib
import http.client
import json
from typing import Any
from urllib.parse import urlsplit


class DemoError(Exception):
    """The server did not answer as it should."""


def run_demo(url: str, id_: str) -> None:
    """Create an element under this id, list, read, rename and delete it.

    Raises:
        DemoError: a response has an unexpected status.
    """
    elements, renamed = "/api/elements/", f"{id_}.renamed"
    new = {"id": id_, "data": ["54 26 34", "75 87 75"], "deviceName": "RX 1"}
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as server:
        call(server, "POST", elements, 201, {"1": new})
        call(server, "GET", f"{elements}?page_size=2&fields=id,device_name,data_size", 200)
        call(server, "GET", f"{elements}{id_}/", 200)
        call(server, "PATCH", f"{elements}{id_}/", 200, {"device_name": "new_device_name", "id": renamed})
        call(server, "POST", elements, 422, {"1": new | {"data": ["54 26 -34"]}})
        call(server, "DELETE", f"{elements}{renamed}/", 204)
        call(server, "GET", f"{elements}{renamed}/", 404)


def call(server: http.client.HTTPConnection, method: str, path: str, expected: int, body: Any = None) -> None:
    """Send a request and print it with its response."""
    data = json.dumps(body) if body else None
    server.request(method, path, data, {"Content-Type": "application/json"} if body else {})
    response = server.getresponse()
    text = response.read()
    print(f"{method} {path}  {data or ''}".rstrip())
    print(f"  {response.status} {response.reason}")
    if text:
        pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        print("\n".join(f"  {line}" for line in pretty.splitlines()))
    print(flush=True)
    if response.status != expected:
        raise DemoError(f"{method} {path} answered {response.status}, not {expected}")
