"""One rule for numbers, on every way through the code."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import measurements
from measurements import NumberError, parse_numbers

GOOD = st.one_of(
    st.integers(0, 10**20).map(str),
    st.floats(0, 1e300).map(repr),
    st.sampled_from(["+5", ".5", "5.", "007", "1e3", "1E-3", "+.5e+2", "0", "0.0", "1e-400"]),
)
ODD = '-5 -0 nan inf 1e400 1_000 0x10 ٣ ５ 1,2 1e e5 . + 1.2.3 null true [2] {} "5" 1\n2 \n2 \x0b1 1\u00a02'
BAD = st.one_of(
    st.sampled_from(ODD.split(" ")),
    st.text(min_size=1, max_size=6).filter(lambda text: text.strip(" \t") != ""),
)
RULE = re.compile(r"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
BLANKS = st.sampled_from([" ", " ", " ", "  ", "\t", " \t "])


def plain(rows: list[str]) -> list[float] | None:
    """The rule, spelled out: what the fast ways must agree with."""
    tokens = [token for row in rows for token in re.split(r"[ \t]+", row) if token]
    if not tokens or not all(RULE.fullmatch(token) for token in tokens):
        return None
    numbers = [float(token) for token in tokens]
    return numbers if all(map(math.isfinite, numbers)) else None


@st.composite
def row(draw: st.DrawFn) -> str:
    tokens = draw(st.lists(st.one_of(GOOD, GOOD, GOOD, GOOD, BAD), max_size=8))
    return "".join(draw(BLANKS) + token for token in tokens) + draw(st.sampled_from(["", " "]))


@pytest.mark.parametrize("parser", ["simdjson", "orjson"])
@pytest.mark.parametrize("large", [0, measurements.ARRAY_MIN_SIZE], ids=["as a large text", "as a small text"])
@given(rows=st.lists(row(), max_size=3))
@settings(deadline=None, max_examples=400)
def test_every_way_follows_the_rule(large: int, parser: str, rows: list[str]) -> None:
    expected = plain(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurements, "ARRAY_MIN_SIZE", large)
        if parser == "orjson":
            patch.setattr(measurements, "_parsed_array", measurements.X)
        if expected is None:
            with pytest.raises(NumberError):
                parse_numbers(rows)
        else:
            assert list(parse_numbers(rows)) == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1 2", "3 -4 5"], "'-4' is negative (row 2, position 2)"),
        (["1_000"], "'1_000' is no number (row 1, position 1)"),
        (["1 1e400"], "'1e400' is too large (row 1, position 2)"),
        (["1 ٣"], "'\\u0663' is no number (row 1, position 2)"),
        (["1,2"], "'1,2' is no number (row 1, position 1)"),
        (["1 " * 5000 + "nan"], "'nan' is no number (row 1, position 5001)"),
        (["x" * 100], f"'{'x' * 40}', row 1, place 1, is no number"),
        ([], "data contains no numbers"),
        ([""], "data contains no numbers"),
        ([" \t", ""], "data contains no numbers"),
    ],
)
def test_the_bad_token_and_its_place_are_named(rows: list[str], message: str) -> None:
    with pytest.raises(NumberError) as refused:
        parse_numbers(rows)
    assert str(refused.value) == message


def test_many_numbers_are_an_array_bit_for_bit_what_float_says() -> None:
    tokens = [repr(number) for number in np.random.default_rng(1).uniform(0, 1e6, 20_000).tolist()]
    values = parse_numbers([" ".join(tokens)])
    assert isinstance(values, np.ndarray)
    assert values.tolist() == list(map(float, tokens))
