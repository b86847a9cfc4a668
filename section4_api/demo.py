"""A demonstration: a client creates, lists, reads, renames and deletes an element; requests and responses are shown."""

import json
import urllib.error
import urllib.request
from typing import Any


class DemoError(Exception):
    """The server did not answer as it should."""


def run_demo(url: str, id_: str) -> None:
    """Create an element under this id, list, read, rename and delete it.

    Raises:
        DemoError: a response has an unexpected status.
    """
    elements, renamed = "/api/elements/", f"{id_}.renamed"
    new = {"id": id_, "data": ["54 26 34", "75 87 75"], "deviceName": "RX 1"}
    call(url, "POST", elements, 201, {"1": new})
    call(url, "GET", f"{elements}?page_size=2&fields=id,device_name,data_size", 200)
    call(url, "GET", f"{elements}{id_}/", 200)
    call(url, "PATCH", f"{elements}{id_}/", 200, {"device_name": "new_device_name", "id": renamed})
    call(url, "POST", elements, 422, {"1": new | {"data": ["54 26 -34"]}})
    call(url, "DELETE", f"{elements}{renamed}/", 204)
    call(url, "GET", f"{elements}{renamed}/", 404)


def call(url: str, method: str, path: str, expected: int, body: Any = None) -> None:
    """Send a request and print it with its response."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    request = urllib.request.Request(f"{url}{path}", data, headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            status, reason, text = response.status, response.reason, response.read()
    except urllib.error.HTTPError as error:
        with error:
            status, reason, text = error.code, error.reason, error.read()
    print(f"{method} {path}" + (f"  {data.decode()}" if data else ""))
    print(f"  {status} {reason}")
    if text:
        pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        print("\n".join(f"  {line}" for line in pretty.splitlines()))
    print(flush=True)
    if status != expected:
        raise DemoError(f"{method} {path} answered {status}, not {expected}")
