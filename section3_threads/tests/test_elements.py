"""Parsing of the elements of JSON files: strict, and each element independent of the others."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import elements
from elements import Element, ElementError, iter_elements
from support import element, keyed


def read(text: str | bytes, chunk: int = elements.CHUNK) -> list[Element | ElementError]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elements, "CHUNK", chunk)
        return list(iter_elements(io.BytesIO(text.encode() if isinstance(text, str) else text)))


def good(name: str = "good") -> str:
    return f'"{name}": {{"id": "{name}", "data": ["1 2"], "deviceName": "RX"}}'


def test_elements_keep_their_order_fields_and_lines() -> None:
    found = read(
        '{\n"1": {"id": "a", "data": ["1 2", "3"], "deviceName": "RX 1"},\n'
        '\n"2": {"id": "b", "data": [], "deviceName": ""}}'
    )
    assert found == [Element("a", "RX 1", ["1 2", "3"], 2), Element("b", "", [], 4)]


@pytest.mark.parametrize("text", ["{}", " { } ", "{\n}\n"])
def test_empty_object_has_no_elements(text: str) -> None:
    assert read(text) == []


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
ELEMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "data": st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=3),
            "deviceName": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        },
        optional={"more": JSON},
    ),
    max_size=5,
)


@given(ELEMENTS, st.booleans(), st.sampled_from([None, 1]), st.integers(1, 40))
@settings(deadline=None, max_examples=300)
def test_elements_equal_those_of_json_loads_for_any_chunk_size(
    fields: list[dict[str, Any]], ascii_only: bool, indent: int | None, chunk: int
) -> None:
    members = {f'k"{number}\\': {"id": f"e{number}"} | one for number, one in enumerate(fields)}
    text = json.dumps(members, ensure_ascii=ascii_only, indent=indent)
    found = read(text, chunk)
    assert [(one.id, one.rows, one.device_name) for one in found if isinstance(one, Element)] == [
        (one["id"], one["data"], one["deviceName"]) for one in members.values()
    ]
    assert [one.line for one in found] == [
        text[: text.index(json.dumps(key, ensure_ascii=ascii_only) + ":")].count("\n") + 1 for key in members
    ]


@pytest.mark.parametrize(
    ("value", "id_", "reason"),
    [
        ("NaN", None, "invalid JSON"),
        ("5", None, "not a JSON object"),
        ('"text"', None, "not a JSON object"),
        ("[]", None, "not a JSON object"),
        ('{"id": 5, "data": ["1"], "deviceName": "RX"}', None, "'id' must be a non-empty string"),
        ('{"id": "", "data": ["1"], "deviceName": "RX"}', None, "'id' must be a non-empty string"),
        ('{"data": ["1"], "deviceName": "RX"}', None, "'id' must be a non-empty string"),
        ('{"id": "x", "deviceName": "RX"}', "x", "'data' is missing"),
        ('{"id": "x", "data": ["1"]}', "x", "'deviceName' is missing"),
        ('{"id": "x", "data": "1 2", "deviceName": "RX"}', "x", "'data' must be a list of strings"),
        ('{"id": "x", "data": null, "deviceName": "RX"}', "x", "'data' must be a list of strings"),
        ('{"id": "x", "data": [1, 2], "deviceName": "RX"}', "x", "'data' must be a list of strings"),
        ('{"id": "x", "data": ["1"], "deviceName": 5}', "x", "'deviceName' must be a string"),
        ('{"id": "x", "data": ["1"], "data": ["2"], "deviceName": "RX"}', "x", "the key 'data' is repeated"),
        ('{"id": "x", "data": ["1"], "d\\u0061ta": ["2"], "deviceName": "RX"}', "x", "the key 'data' is repeated"),
        ('{"id": "x", "data"\n: ["1"], "deviceName": "RX", "id": "y"}', "y", "the key 'id' is repeated"),
        ('{"id": "x", "data": ["1"], "deviceName": "RX", "more": {"a": 1, "a": 2}}', "x", "the key 'a' is repeated"),
        ('{"id": "x", "data": ["\\ud800"], "deviceName": "RX"}', None, "invalid JSON"),
        ('{"id": "x", "data": ["1"], "deviceName": "RX", "n": Infinity}', None, "invalid JSON"),
        ('{"id": "x", "data": ["1"], "deviceName": "RX",}', None, "invalid JSON"),
        ('{"id": "x", "data": ["1\n2"], "deviceName": "RX"}', None, "invalid JSON"),
        ('{"id": "\\u0078", "data": ["1", "deviceName": "RX"}', None, "invalid JSON"),
        ('{"id": "\\u0078", "data": ["1"]], "deviceName": "RX"}', None, "invalid JSON"),
        ('{"id": "good", "data": ["1"], "deviceName": "RX"}', "good", "the id is repeated"),
        ("[" * 100_000 + "]" * 100_000, None, "invalid JSON"),
        ('{"id": "x", "data": ["1"], "deviceName": "RX", "n": ' + "[" * 2000 + "]" * 2000 + "}", None, "invalid JSON"),
    ],
)  # fmt: skip
def test_invalid_element_does_not_affect_the_others(value: str, id_: str | None, reason: str) -> None:
    found = read(f'{{{good()},\n"bad": {value},\n{good("last")}}}')
    assert [one.id for one in found if isinstance(one, Element)] == ["good", "last"]
    (problem,) = (one for one in found if isinstance(one, ElementError))
    assert (problem.id, problem.line) == (id_, 2)
    assert problem.reason.startswith(reason)


def test_invalid_utf8_is_an_error_of_its_element() -> None:
    found = read(b'{"1": {"id": "a\xff", "data": ["1"], "deviceName": "RX"}, ' + good().encode() + b"}")
    assert [type(one) for one in found] == [ElementError, Element]


def test_repeated_key_is_an_error() -> None:
    found = read(f'{{{good()}, "good": {{"id": "other", "data": ["1"], "deviceName": "RX"}}}}')
    assert found[1] == ElementError("other", 1, "the key 'good' is repeated")


def test_byte_order_mark_is_reported_and_the_elements_are_read() -> None:
    found = read(b"\xef\xbb\xbf{" + good().encode() + b"}")
    assert isinstance(found[0], ElementError)
    assert "byte order mark" in found[0].reason
    assert isinstance(found[1], Element)


GOOD = good()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "[]",
            "5",
            '"x"',
            "nonsense",
            "{",
            "{5: 5}",
            '{"a" 5}',
            '{"a": }',
            '{"a',
            '{"a": {',
            "{'a': 5}",
            "\0",
        ),
        *("{" + GOOD + end for end in ("", ",}", "} x", "}{}", '"2": 5}')),
        "/* */ {}",
    ],
)
def test_file_that_is_not_a_json_object_ends_in_an_error(text: str) -> None:
    found = read(text)
    assert isinstance(found[-1], ElementError)
    assert [one.id for one in found[:-1]] == (["good"] if good() in text else [])[: len(found) - 1]


class Endless(io.RawIOBase):
    """Generate the text of many elements while it is read, so that the file is never in memory."""

    def __init__(self, count: int) -> None:
        self._pieces = self._made(count)
        self._rest = b""

    def _made(self, count: int) -> Iterator[bytes]:
        yield b"{"
        for number in range(count):
            one = json.dumps(element(number, "1 2 3 " * 100))
            yield f'{"," if number else ""}"{number}": {one}'.encode()
        yield b"}"

    def read(self, size: int = -1, /) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


def test_memory_holds_one_element_at_a_time() -> None:
    tracemalloc.start()
    try:
        count = sum(1 for _ in iter_elements(cast("BinaryIO", Endless(20_000))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 10 << 20, "16 MB of elements went through"


def test_keyed_elements_are_read() -> None:
    assert [one.id for one in read(keyed(element(1), element(2)))] == ["e1", "e2"]


@pytest.mark.parametrize("start", ["", "\n ", "\ufeff"])
def test_file_of_one_element_without_a_key_is_accepted(start: str) -> None:
    found = read(start + json.dumps(element(1, "1 2"), indent=1))
    assert found[-1] == Element("e1", "RX 1", ["1 2"], 2 if "\n" in start else 1)


def test_invalid_element_without_a_key_is_one_error() -> None:
    assert read('{"id": "x", "data": "1 2", "deviceName": "RX"}') == [
        ElementError("x", 1, "'data' must be a list of strings")
    ]


def test_element_without_a_key_may_start_with_another_field() -> None:
    assert read('{"comment": "x", "n": [5], "id": "x", "data": ["1 2"], "deviceName": "RX"}') == [
        Element("x", "RX", ["1 2"], 1)
    ]


def test_member_that_is_not_an_object_is_one_error_among_elements() -> None:
    found = read(f'{{"n": 5, "note": "id", {good()}}}')
    assert [type(one) for one in found] == [ElementError, ElementError, Element]


@pytest.mark.parametrize("key", ["id", "data", "deviceName"])
def test_key_named_like_a_field_is_still_a_key(key: str) -> None:
    assert read(json.dumps({key: element(1)})) == [Element("e1", "RX 1", ["1 2 3"], 1)]


def test_invalid_json_names_the_line_and_the_character() -> None:
    (error,) = read('{\n"1": {"id": "x",\n "data": x}\n}')
    assert isinstance(error, ElementError)
    assert error.reason.startswith("invalid JSON: ")
    assert error.reason.endswith(" (line 3, character 22 of the element)")


def test_integer_of_5000_digits_in_another_field_is_accepted() -> None:
    assert isinstance(read(f'{{"1": {json.dumps(element(1))[:-1]}, "n": {"9" * 5000}}}}}')[0], Element)
