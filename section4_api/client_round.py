"""One round of a client: create, list, read, rename, delete, each request and its answer shown."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

PATIENCE = 30  # seconds until the server must be ready


class ClientRoundError(Exception):
    """The server did not answer as it should."""


def wait_until_ready(url: str) -> None:
    """Wait for the server.

    Raises:
        ClientRoundError: it does not become ready.

    """
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=5):  # noqa: S310
                return
        except OSError:
            time.sleep(0.05)
    raise ClientRoundError(f"the server was not ready after {PATIENCE} seconds")


def make_round(url: str, id_: str) -> None:
    """Create an element under this id, list, read, rename and delete it.

    Raises:
        ClientRoundError: an answer has another status than it should.

    """
    elements, renamed = "/api/elements/", f"{id_}.renamed"
    new = {"id": id_, "data": ["54 26 34", "75 87 75"], "deviceName": "RX 1"}
    ask(url, "POST", elements, 201, {"1": new})
    ask(url, "GET", f"{elements}?page_size=2&fields=id,device_name,data_size", 200)
    ask(url, "GET", f"{elements}{id_}/", 200)
    ask(url, "PATCH", f"{elements}{id_}/", 200, {"device_name": "new_device_name", "id": renamed})
    ask(url, "POST", elements, 422, {"1": new | {"data": ["54 26 -34"]}})
    ask(url, "DELETE", f"{elements}{renamed}/", 204)
    ask(url, "GET", f"{elements}{renamed}/", 404)


def ask(url: str, method: str, path: str, expected: int, body: Any = None) -> None:
    """Send a request and show it with its answer."""
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
        shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        print("\n".join(f"  {line}" for line in shown.splitlines()))
    print(flush=True)
    if status != expected:
        raise ClientRoundError(f"{method} {path} answered {status}, not {expected}")
