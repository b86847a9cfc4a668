"""GET, PUT, PATCH and DELETE of /api/elements/<id>/."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from support import ELEMENTS, element, keyed, path, pointers, post, problem, send, store, stored_ids

METHODS = ["PUT", "PATCH"]


def test_if_none_match_with_the_current_tag_is_304(api: Client) -> None:
    store(api, "a")
    tag = api.get(path("a"))["ETag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = api.get(path("a"), headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", tag)
        assert answer["Cache-Control"] == "no-cache"  # RFC 9110, section 15.4.5: as the 200 would have it
    assert api.get(path("a"), headers={"If-None-Match": '"x"'}).status_code == 200


def test_the_tag_changes_with_the_element(api: Client) -> None:
    store(api, "a")
    tags = {api.get(path("a"))["ETag"]}
    for name in ("RX 2", "RX 1", "RX 2"):
        tags.add(send(api, "PATCH", path("a"), {"device_name": name})["ETag"])
    assert len(tags) == 4


@pytest.mark.parametrize("method", ["GET", *METHODS, "DELETE"])
def test_a_missing_element_is_404(api: Client, method: str) -> None:
    problem(send(api, method, path("a"), {"device_name": "RX 2"}), 404)


@pytest.mark.parametrize("method", METHODS)
def test_the_device_is_renamed(api: Client, method: str) -> None:
    store(api, "a")
    before = api.get(path("a")).json()
    answer = send(api, method, path("a"), {"device_name": "new_device_name"})
    assert answer.status_code == 200
    assert "Location" not in answer
    body = answer.json()
    assert body == before | {"device_name": "new_device_name", "updated_at": body["updated_at"]}
    assert body["updated_at"] > before["updated_at"]
    assert api.get(path("a")).json() == body


@pytest.mark.parametrize("method", METHODS)
def test_a_new_id_really_renames(api: Client, method: str) -> None:
    store(api, "a", "b")
    before = api.get(path("a")).json()
    answer = send(api, method, path("a"), {"id": "c", "device_name": "CT 9"})
    assert (answer.status_code, answer["Location"]) == (200, "/api/elements/c/")
    body = answer.json()
    assert body == before | {"id": "c", "device_name": "CT 9", "updated_at": body["updated_at"]}
    assert stored_ids(api) == ["b", "c"]
    problem(api.get(path("a")), 404)


@pytest.mark.parametrize("method", METHODS)
def test_an_id_that_is_already_stored_is_409(api: Client, method: str) -> None:
    store(api, "a", "b")
    assert pointers(send(api, method, path("a"), {"id": "b"}), 409) == ["#/id"]
    assert stored_ids(api) == ["a", "b"]


@pytest.mark.parametrize("method", METHODS)
def test_a_client_may_send_back_what_it_read(api: Client, method: str) -> None:
    store(api, "a")
    got = api.get(path("a"))
    answer = send(api, method, path("a"), got.json())
    assert (answer.status_code, answer.json(), answer["ETag"]) == (200, got.json(), got["ETag"])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("average_before_normalization", 2), ("average_after_normalization", None), ("colour", "red")),
        *(("data_size", 7), ("data_size", True), ("data_size", "1"), ("data_size", 2**70)),
        *(("raw_data", ["2"]), ("raw_data", []), ("updated_at", "2020-01-01T00:00:00")),
        *(("created_at", "2020-01-01T00:00:00Z"), ("created_at", "2020-13-45T00:00:00Z"), ("created_at", 5)),
    ],
)
def test_a_computed_or_unknown_field_cannot_be_changed(api: Client, method: str, field: str, value: Any) -> None:
    store(api, "a", data=["1"])  # True == 1
    assert pointers(send(api, method, path("a"), {"device_name": "new", field: value}), 400) == [f"#/{field}"]
    assert api.get(path("a")).json()["device_name"] == "RX 1"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"id": "a/b"}, ["#/id"]),
        ({"id": None}, ["#/id"]),
        ({"device_name": ""}, ["#/device_name"]),
        ({"device_name": None}, ["#/device_name"]),
        ({"deviceName": "RX 2"}, ["#/deviceName"]),
        ({"id": "..", "device_name": 5}, ["#/id", "#/device_name"]),
        *(({}, ["#"]), ([], ["#"]), (5, ["#"])),
    ],
)
def test_an_invalid_change_is_400_with_its_pointer(api: Client, method: str, body: Any, at: list[str]) -> None:
    store(api, "a")
    assert pointers(send(api, method, path("a"), body), 400) == at


@pytest.mark.parametrize("method", [*METHODS, "DELETE"])
def test_if_match_refuses_a_stale_or_malformed_tag(api: Client, method: str) -> None:
    store(api, "a")
    old = api.get(path("a"))["ETag"]
    new = send(api, "PATCH", path("a"), {"device_name": "RX 2"}, If_Match=old)["ETag"]
    for stale in (old, '"x"', f"W/{new}"):
        assert problem(send(api, method, path("a"), {"device_name": "RX 3"}, If_Match=stale), 412)
    for malformed in ("", new.strip('"'), f"'{new}'", f"{new},x"):
        document = problem(send(api, method, path("a"), {"device_name": "RX 3"}, If_Match=malformed), 412)
        assert document["detail"].startswith("If-Match must be")
    assert api.get(path("a")).json()["device_name"] == "RX 2"
    assert send(api, method, path("a"), {"device_name": "RX 3"}, If_Match=f'"x", {new}').status_code in (200, 204)


@pytest.mark.parametrize(
    ("method", "where", "body", "statements"),
    [
        ("GET", path("a"), None, 1),
        ("GET", f"{ELEMENTS}?page_size=1&device_name=RX 1", None, 1),
        ("POST", ELEMENTS, keyed(*(element(f"e{number}") for number in range(500))), 3),  # BEGIN, INSERT, COMMIT
        *((method, path("a"), {"device_name": "RX 2"}, 5) for method in METHODS),  # BEGIN, lock, write, COMMIT, read
    ],
)
def test_a_request_costs_few_statements(api: Client, method: str, where: str, body: Any, statements: int) -> None:
    store(api, "a", "b")
    with CaptureQueriesContext(connection) as queries:
        assert send(api, method, where, body).status_code < 300
    assert len(queries) <= statements


def test_an_element_is_removed_once(api: Client) -> None:
    store(api, "a", "b")
    answer = api.delete(path("a"))
    assert (answer.status_code, answer.content) == (204, b"")
    problem(api.delete(path("a")), 404)
    assert stored_ids(api) == ["b"]


@pytest.mark.parametrize("id_", ["a.b", "~a", "-", "A_b-1.2~", "1.2.840.10008.5.1.4.1.1.2", "a" * 64, "..."])
def test_every_valid_id_can_be_read_changed_and_deleted(api: Client, id_: str) -> None:
    assert post(api, element(id_)).status_code == 201
    assert api.get(path(id_)).status_code == 200
    assert send(api, "PATCH", path(id_), {"device_name": "RX 2"}).status_code == 200
    assert api.delete(path(id_)).status_code == 204
