"""POST /api/elements/."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from elements import parsers
from support import ELEMENTS, element, keyed, path, pointers, post, problem, store, stored_ids


def test_an_element_is_stored_with_what_the_server_computes(api: Client) -> None:
    answer = post(api, element("aabbcc1"))
    assert answer.status_code == 201
    assert answer["Location"] == "/api/elements/aabbcc1/"
    told = answer.json()
    assert {name: told[name] for name in ("id", "device_name", "data_size", "raw_data")} == {
        "id": "aabbcc1",
        "device_name": "RX 1",
        "data_size": 6,
        "raw_data": ["54 26 34", "75 87 75"],
    }
    assert told["average_before_normalization"] == 58.5
    assert told["average_after_normalization"] == pytest.approx(58.5 / 87, abs=1e-15)
    assert api.get(path("aabbcc1")).json() == told


def test_the_tag_of_the_answer_is_the_tag_of_the_element(api: Client) -> None:
    assert post(api, element("a"))["ETag"] == api.get(path("a"))["ETag"]


def test_a_map_is_stored_whole(api: Client) -> None:
    answer = post(api, keyed(element("b"), element("a", "1 2")))
    assert answer.status_code == 201
    told = answer.json()
    assert (told["created"], [row["id"] for row in told["results"]]) == (2, ["b", "a"])
    listed = {row["id"]: row for row in api.get(ELEMENTS).json()["results"]}
    assert listed == {row["id"]: row for row in told["results"]}


def test_fields_narrow_what_a_creation_tells(api: Client) -> None:
    assert post(api, element("a"), "?fields=id").json() == {"id": "a"}
    assert post(api, keyed(element("b")), "?fields=raw_data,id").json()["results"] == [
        {"raw_data": ["54 26 34", "75 87 75"], "id": "b"}
    ]
    told = post(api, keyed(element("c")), "?fields=id&partial=true").json()
    assert told["results"][0]["element"] == {"id": "c"}


def test_a_map_costs_three_statements(api: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        store(api, *(f"e{number}" for number in range(500)))
    assert len(asked) <= 3


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"id": ""}, "#/2/id"),
        ({"id": "a/b"}, "#/2/id"),
        ({"id": ".."}, "#/2/id"),
        ({"id": "."}, "#/2/id"),
        ({"id": "a\r\nX: y"}, "#/2/id"),
        ({"id": "a\n"}, "#/2/id"),
        ({"id": "\u0661"}, "#/2/id"),
        ({"id": "a" * 65}, "#/2/id"),
        ({"id": 5}, "#/2/id"),
        ({"id": None}, "#/2/id"),
        ({"deviceName": ""}, "#/2/deviceName"),
        ({"deviceName": " \t"}, "#/2/deviceName"),
        ({"deviceName": "a\0b"}, "#/2/deviceName"),
        ({"deviceName": "x" * 201}, "#/2/deviceName"),
        ({"deviceName": ["RX"]}, "#/2/deviceName"),
        ({"device_name": "another"}, "#/2/device_name"),
        ({"data": "54 26"}, "#/2/data"),
        ({"data": None}, "#/2/data"),
        ({"data": {}}, "#/2/data"),
        ({"data": [54, 26]}, "#/2/data"),
        ({"data": [["54"]]}, "#/2/data"),
        ({"colour": "red"}, "#/2/colour"),
        ({"data_size": 6}, "#/2/data_size"),
        ({"a/b~c d": 1}, "#/2/a~1b~0c%20d"),
    ],
)
def test_an_element_of_the_wrong_shape_is_400_at_its_place(api: Client, fields: dict[str, Any], at: str) -> None:
    assert pointers(post(api, keyed(element("good"), element("bad") | fields)), 400) == [at]
    assert stored_ids(api) == []


@pytest.mark.parametrize("missing", ["id", "data", "deviceName"])
def test_a_missing_field_is_400_at_its_place(api: Client, missing: str) -> None:
    sent = element("a")
    del sent[missing]
    assert pointers(post(api, sent), 400) == [f"#/{missing}"]


@pytest.mark.parametrize(
    ("rows", "at", "detail"),
    [
        (["54 26", "75 -87"], "#/data/1", "'-87' at position 2 of the row is negative"),
        (["1_000"], "#/data/0", "'1_000' at position 1 of the row is not a number"),
        (["nan"], "#/data/0", "'nan' at position 1 of the row is not a number"),
        (["1e400"], "#/data/0", "'1e400' at position 1 of the row is too large"),
        (["٣"], "#/data/0", "'\\u0663' at position 1 of the row is not a number"),
        (["1,5"], "#/data/0", "'1,5' at position 1 of the row is not a number"),
        (["1\n2"], "#/data/0", "'1\\n2' at position 1 of the row is not a number"),
        (["1\u00a02"], "#/data/0", "'1\\xa02' at position 1 of the row is not a number"),
        ([], "#/data", "holds no numbers"),
        ([""], "#/data", "holds no numbers"),
        ([" \t"], "#/data", "holds no numbers"),
    ],
)
def test_numbers_that_break_the_rule_are_422_at_their_row(api: Client, rows: list[str], at: str, detail: str) -> None:
    assert problem(post(api, element("a") | {"data": rows}), 422)["errors"] == [
        {"pointer": at, "code": "unprocessable", "detail": detail}
    ]


def test_every_fault_of_a_map_is_told(api: Client) -> None:
    sent = keyed(element("a", "x"), element("b"), {"id": "c", "colour": 1}, 5)
    assert pointers(post(api, sent), 400) == ["#/1/data/0", "#/3/colour", "#/4"]


def test_thousands_of_faults_are_counted_and_not_all_told(api: Client) -> None:
    told = problem(post(api, keyed(*(element(f"e{number}", "x") for number in range(5000)))), 422)
    assert len(told["errors"]) == 100
    assert told["errors_omitted"] == 4900


def test_a_taken_id_is_409_with_the_ids_and_nothing_is_stored(api: Client) -> None:
    store(api, "a", "b")
    told = problem(post(api, keyed(element("c"), element("b"), element("a"))), 409)
    assert [(error["pointer"], error["detail"]) for error in told["errors"]] == [
        ("#/2/id", "b is already stored"),
        ("#/3/id", "a is already stored"),
    ]
    assert stored_ids(api) == ["a", "b"]


def test_a_single_element_that_is_there_is_409(api: Client) -> None:
    store(api, "a")
    assert pointers(post(api, element("a")), 409) == ["#/id"]
    assert post(api, element("a")).json()["detail"] == "an id is already stored; errors says which"


def test_repeated_id_in_a_map_is_422_at_the_second(api: Client) -> None:
    assert pointers(post(api, keyed(element("a"), element("b"), element("a"))), 422) == ["#/3/id"]


def test_partial_stores_what_is_good_and_tells_of_each(api: Client) -> None:
    store(api, "taken")
    sent = keyed(element("new"), element("taken"), element("bad", "-1"), {"id": "x"})
    answer = post(api, sent, "?partial=true")
    assert answer.status_code == 207
    told = answer.json()
    assert (told["created"], told["failed"]) == (1, 3)
    assert {result["key"]: result["status"] for result in told["results"]} == {"1": 201, "2": 409, "3": 422, "4": 400}
    assert told["results"][1]["errors"][0]["code"] == "conflict"
    assert stored_ids(api) == ["new", "taken"]


def test_partial_results_come_in_the_order_of_the_map(api: Client) -> None:
    sent = keyed(element("a", "-1"), element("b"), element("c", "-1"), element("d"))
    assert [result["key"] for result in post(api, sent, "?partial=true").json()["results"]] == ["1", "2", "3", "4"]


def test_the_file_of_the_test_is_stored_as_it_is(api: Client) -> None:
    body = {str(n): element(f"aabbcc{n}", "54 26 34", "75 87 75", deviceName=f"RX {n % 4}") for n in range(1, 51)}
    assert post(api, body).json()["created"] == 50


@pytest.mark.parametrize(
    ("name", "expected"), [("raw_data", "send the rows as data"), ("device_name", "send the name as deviceName")]
)
def test_a_field_under_its_stored_name_is_400_with_the_right_name(api: Client, name: str, expected: str) -> None:
    told = problem(post(api, element("a") | {name: "x"}), 400)
    assert told["errors"] == [{"pointer": f"#/{name}", "code": "invalid", "detail": expected}]


def test_a_body_of_too_many_values_is_413(api: Client) -> None:
    problem(post(api, b'{"id": "a", "deviceName": "RX", "data": [' + b'"",' * 2_000_001 + b'""]}'), 413)


def test_ten_thousand_elements_are_taken(api: Client) -> None:
    assert post(api, keyed(*(element(f"e{number}", "1") for number in range(10_000)))).status_code == 201


def test_more_than_ten_thousand_are_413(api: Client) -> None:
    problem(post(api, keyed(*(element(f"e{number}", "1") for number in range(10_001)))), 413)


def test_a_million_numbers_are_taken_and_one_more_is_422(api: Client) -> None:
    assert post(api, element("most", "1 " * 1_000_000), "?fields=id").status_code == 201
    assert pointers(post(api, element("more", "1 " * 1_000_001)), 422) == ["#/data"]


def test_a_body_over_the_limit_is_413(api: Client) -> None:
    problem(post(api, b" " * (parsers.MAX_BODY + 1)), 413)


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"null", b"5", b'"a"', b"{", b"\xff", b"[1]", b'{"1": 5}', b"\xef\xbb\xbf{}"],
)
def test_what_is_neither_an_element_nor_a_map_is_400(api: Client, body: bytes) -> None:
    problem(post(api, body), 400)


def test_a_map_whose_keys_are_field_names_is_a_map(api: Client) -> None:
    answer = post(api, {"id": element("a"), "data": element("b")})
    assert answer.json()["created"] == 2


def test_a_maximum_of_zero_normalises_to_zeros(api: Client) -> None:
    told = post(api, element("a", "0 0")).json()
    assert (told["average_before_normalization"], told["average_after_normalization"]) == (0, 0)


@pytest.mark.parametrize("query", ["?partial=maybe", "?partial=1", "?parcial=true", "?partial=true&partial=false"])
def test_a_parameter_that_is_not_understood_is_400(api: Client, query: str) -> None:
    problem(post(api, keyed(element("a")), query), 400)
    assert stored_ids(api) == []
