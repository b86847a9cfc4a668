"""POST /api/elements/."""

from typing import Any

import pytest
from django.test import Client

from elements import parsers
from support import ELEMENTS, element, keyed, path, pointers, post, problem, store, stored_ids


def test_an_element_is_stored_with_what_the_server_computes(api: Client) -> None:
    answer = post(api, element("aabbcc1"))
    assert answer.status_code == 201
    assert answer["Location"] == "/api/elements/aabbcc1/"
    body = answer.json()
    assert {name: body[name] for name in ("id", "device_name", "data_size", "raw_data")} == {
        "id": "aabbcc1",
        "device_name": "RX 1",
        "data_size": 6,
        "raw_data": ["54 26 34", "75 87 75"],
    }
    assert body["average_before_normalization"] == 58.5
    assert body["average_after_normalization"] == pytest.approx(58.5 / 87, abs=1e-15)
    read = api.get(path("aabbcc1"))
    assert (read.json(), read["ETag"]) == (body, answer["ETag"])


def test_a_map_is_stored(api: Client) -> None:
    answer = post(api, keyed(element("b"), element("a", "1 2")))
    assert answer.status_code == 201
    body = answer.json()
    assert (body["created"], [row["id"] for row in body["results"]]) == (2, ["b", "a"])
    listed = {row["id"]: row for row in api.get(ELEMENTS).json()["results"]}
    assert listed == {row["id"]: row for row in body["results"]}


INVALID: dict[str, tuple[Any, ...]] = {
    "id": ("", "a/b", "..", ".", "a\r\nX: y", "a\n", "\u0661", "a" * 65, 5, None),
    "deviceName": ("", " \t", "a\0b", "x" * 201, ["RX"]),
    "device_name": ("another",),
    "data": ("54 26", None, {}, [54, 26], [["54"]]),
    "colour": ("red",),
    "data_size": (6,),
    "a/b~c d": (1,),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in INVALID.items() for value in values])
def test_an_invalid_field_is_400_with_its_pointer(api: Client, name: str, value: Any) -> None:
    at = "#/2/" + name.replace("a/b~c d", "a~1b~0c%20d")
    assert pointers(post(api, keyed(element("good"), element("bad") | {name: value})), 400) == [at]
    assert stored_ids(api) == []


@pytest.mark.parametrize("missing", ["id", "data", "deviceName"])
def test_a_missing_field_is_400_with_its_pointer(api: Client, missing: str) -> None:
    sent = element("a")
    del sent[missing]
    assert pointers(post(api, sent), 400) == [f"#/{missing}"]


@pytest.mark.parametrize(
    ("rows", "at", "detail"),
    [
        (["54 26", "75 -87"], "#/data/1", "'-87' at position 2 of the row is negative"),
        (["1_000"], "#/data/0", "'1_000' at position 1 of the row is not a number"),
        (["1e400"], "#/data/0", "'1e400' at position 1 of the row is too large"),
        (["٣"], "#/data/0", "'\\u0663' at position 1 of the row is not a number"),
        ([], "#/data", "holds no numbers"),
        ([""], "#/data", "holds no numbers"),
    ],
)
def test_numbers_that_break_the_rule_are_422_at_their_row(api: Client, rows: list[str], at: str, detail: str) -> None:
    assert problem(post(api, element("a") | {"data": rows}), 422)["errors"] == [
        {"pointer": at, "code": "unprocessable", "detail": detail}
    ]


def test_every_error_of_a_map_is_reported(api: Client) -> None:
    sent = keyed(element("a", "x"), element("b"), {"id": "c", "colour": 1}, 5)
    assert pointers(post(api, sent), 400) == ["#/1/data/0", "#/3/colour", "#/4"]


def test_only_the_first_100_errors_are_listed(api: Client) -> None:
    body = problem(post(api, keyed(*(element(f"e{number}", "x") for number in range(5000)))), 422)
    assert len(body["errors"]) == 100
    assert body["errors_omitted"] == 4900


def test_stored_ids_are_409_and_nothing_is_stored(api: Client) -> None:
    store(api, "a", "b")
    body = problem(post(api, keyed(element("c"), element("b"), element("a"))), 409)
    assert [(error["pointer"], error["detail"]) for error in body["errors"]] == [
        ("#/2/id", "b is already stored"),
        ("#/3/id", "a is already stored"),
    ]
    assert stored_ids(api) == ["a", "b"]
    assert pointers(post(api, element("a")), 409) == ["#/id"]


def test_repeated_id_in_a_map_is_422_at_the_second(api: Client) -> None:
    assert pointers(post(api, keyed(element("a"), element("b"), element("a"))), 422) == ["#/3/id"]


def test_partial_stores_the_valid_elements_and_reports_each(api: Client) -> None:
    store(api, "stored")
    sent = keyed(element("new"), element("stored"), element("bad", "-1"), {"id": "x"})
    answer = post(api, sent, "?partial=true")
    assert answer.status_code == 207
    body = answer.json()
    assert (body["created"], body["failed"]) == (1, 3)
    assert [(result["key"], result["status"]) for result in body["results"]] == [
        *(("1", 201), ("2", 409), ("3", 422), ("4", 400))
    ]
    assert body["results"][1]["errors"][0]["code"] == "conflict"
    assert stored_ids(api) == ["new", "stored"]


def test_the_file_of_the_test_is_stored_as_it_is(api: Client) -> None:
    body = {str(n): element(f"aabbcc{n}", "54 26 34", "75 87 75", deviceName=f"RX {n % 4}") for n in range(1, 51)}
    assert post(api, body).json()["created"] == 50


@pytest.mark.parametrize(
    ("name", "expected"), [("raw_data", "send the rows as data"), ("device_name", "send the name as deviceName")]
)
def test_a_field_under_its_stored_name_is_400_with_the_right_name(api: Client, name: str, expected: str) -> None:
    body = problem(post(api, element("a") | {name: "x"}), 400)
    assert body["errors"] == [{"pointer": f"#/{name}", "code": "invalid", "detail": expected}]


def test_a_body_that_is_too_long_or_has_too_many_values_is_413(api: Client) -> None:
    problem(post(api, b" " * (parsers.MAX_BODY + 1)), 413)
    problem(post(api, b'{"id": "a", "deviceName": "RX", "data": [' + b'"",' * 2_000_001 + b'""]}'), 413)


def test_ten_thousand_elements_are_accepted_and_one_more_is_413(api: Client) -> None:
    for size, status in ((10_001, 413), (10_000, 201)):
        assert post(api, keyed(*(element(f"e{number}", "1") for number in range(size)))).status_code == status


def test_a_million_numbers_are_accepted_and_one_more_is_422(api: Client) -> None:
    assert post(api, element("most", "1 " * 1_000_000), "?fields=id").status_code == 201
    assert pointers(post(api, element("more", "1 " * 1_000_001)), 422) == ["#/data"]


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"5", b'"a"', b"{", b"\xff", b"[1]", b'{"1": 5}'])
def test_a_body_that_is_neither_element_nor_map_is_400(api: Client, body: bytes) -> None:
    problem(post(api, body), 400)


def test_a_map_whose_keys_are_field_names_is_a_map(api: Client) -> None:
    answer = post(api, {"id": element("a"), "data": element("b")})
    assert answer.json()["created"] == 2


@pytest.mark.parametrize("query", ["?partial=maybe", "?partial=1", "?parcial=true", "?partial=true&partial=false"])
def test_an_invalid_parameter_is_400(api: Client, query: str) -> None:
    problem(post(api, keyed(element("a")), query), 400)
    assert stored_ids(api) == []
