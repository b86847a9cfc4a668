"""Parsing of numbers, the same by both parsers, and accuracy of the averages."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import measurements
from measurements import Measurements, NumberError, array_mean, mean, measure, parse_numbers

# Section 4 accepts and rejects the same tokens; compare this table with its own.
ACCEPTED = [
    *("0", "7", "007", "+5", "5.", ".5", "+.5", "1.25", "1e3", "1E-3", "+.5e+2"),
    *("1e-400", "18446744073709551616", "1.7976931348623157e308"),
]
REJECTED = [
    *("-5", "-0", "-1e3", "nan", "NaN", "inf", "Infinity", "1e400", "1_000", "0x10", "1,2", "1;2", "1e", "e5"),
    *(".", "+", "+.", "++5", "--5", "1.2.3", "null", "true", "[2]", "{}", '"5"'),
    *("\u0663", "\uff15", "1\n2", "1\x0b2", "1\u00a02", "1\0"),
]
VALID = st.one_of(st.integers(0, 10**20).map(str), st.floats(0, 1e300).map(repr), st.sampled_from(ACCEPTED))
INVALID = st.one_of(
    st.sampled_from(REJECTED), st.text(min_size=1, max_size=6).filter(lambda text: text.strip(" \t") != "")
)
GRAMMAR = re.compile(r"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
SEPARATORS = st.sampled_from([" ", " ", " ", "  ", "\t", " \t "])
VALUES = st.lists(
    st.one_of(st.floats(0, 1e308), st.integers(0, 10**6).map(float), st.floats(0, 1)), min_size=1, max_size=60
)
SIZES = pytest.mark.parametrize("min_size", [0, measurements.ARRAY_MIN_SIZE], ids=["by simdjson", "by float"])


def reference(rows: list[str]) -> list[float] | None:
    """Apply the grammar token by token."""
    tokens = [token for row in rows for token in re.split(r"[ \t]+", row) if token]
    if not tokens or not all(GRAMMAR.fullmatch(token) for token in tokens):
        return None
    numbers = [float(token) for token in tokens]
    return numbers if all(map(math.isfinite, numbers)) else None


@st.composite
def rows_of_tokens(draw: st.DrawFn) -> str:
    tokens = draw(st.lists(st.one_of(VALID, VALID, VALID, VALID, INVALID), max_size=8))
    return "".join(draw(SEPARATORS) + token for token in tokens) + draw(st.sampled_from(["", " "]))


@SIZES
@pytest.mark.parametrize("token", ACCEPTED)
def test_number_is_accepted(token: str, min_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "ARRAY_MIN_SIZE", min_size)
    assert list(parse_numbers(["1", token])) == [1.0, float(token)]


@SIZES
@pytest.mark.parametrize("token", REJECTED)
def test_token_is_rejected(token: str, min_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "ARRAY_MIN_SIZE", min_size)
    with pytest.raises(NumberError, match=r"\(row 2, position 1\)$"):
        parse_numbers(["1", token])


@SIZES
@given(rows=st.lists(rows_of_tokens(), max_size=3))
@settings(deadline=None, max_examples=400)
def test_both_parsers_follow_the_grammar(min_size: int, rows: list[str]) -> None:
    expected = reference(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurements, "ARRAY_MIN_SIZE", min_size)
        if expected is None:
            with pytest.raises(NumberError):
                parse_numbers(rows)
        else:
            assert list(parse_numbers(rows)) == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1 2", "3 -4 5"], "'-4' is negative (row 2, position 2)"),
        (["1_000"], "'1_000' is not a number (row 1, position 1)"),
        (["1 1e400"], "'1e400' is too large (row 1, position 2)"),
        (["1 \u0663"], "'\\u0663' is not a number (row 1, position 2)"),
        (["1 " * 5000 + "nan"], "'nan' is not a number (row 1, position 5001)"),
        (["x" * 100], f"'{'x' * 40}' is not a number (row 1, position 1)"),
        ([], "data contains no numbers"),
        ([""], "data contains no numbers"),
        ([" \t", ""], "data contains no numbers"),
        ([" " * 5000], "data contains no numbers"),
    ],
)
def test_error_names_the_token_and_its_position(rows: list[str], message: str) -> None:
    with pytest.raises(NumberError) as raised:
        parse_numbers(rows)
    assert str(raised.value) == message


def test_long_text_becomes_an_array_of_the_same_floats() -> None:
    tokens = [repr(number) for number in np.random.default_rng(1).uniform(0, 1e6, 20_000).tolist()]
    values = parse_numbers([" ".join(tokens)])
    assert isinstance(values, np.ndarray)
    assert values.tolist() == list(map(float, tokens))


def test_example_is_normalised() -> None:
    assert measure(["54 26 34", "75 87 75"]) == Measurements(58.5, 0.6724137931034483, 6)


@pytest.mark.parametrize("rows", [["0 0"], ["0 " * 5000]], ids=["list", "array"])
def test_maximum_of_zero_normalises_to_zeros(rows: list[str]) -> None:
    result = measure(rows)
    assert (result.average_before, result.average_after) == (0.0, 0.0)


@given(VALUES)
def test_average_after_is_between_zero_and_one(values: list[float]) -> None:
    assert 0 <= measure([" ".join(map(repr, values))]).average_after <= 1


@given(VALUES)
@settings(deadline=None, max_examples=400)
def test_means_are_within_an_ulp_of_exact_arithmetic(values: list[float]) -> None:
    total = sum(map(Fraction, values))
    expected = float(total / len(values))
    sum_error = math.ulp(float(min(total, Fraction(1e308)))) / len(values)
    assert abs(mean(values) - expected) <= math.ulp(expected)
    assert abs(array_mean(np.array(values)) - expected) <= math.ulp(expected) + sum_error


@pytest.mark.parametrize("spread", [1.0, 1e300, 1e-300, 4096.0])
def test_mean_of_a_long_array_is_within_an_ulp_of_fsum(spread: float) -> None:
    values = np.random.default_rng(1).uniform(0, spread, 100_001)
    expected = math.fsum(values.tolist()) / len(values)
    assert abs(array_mean(values) - expected) <= math.ulp(expected)
