"""Numbers and averages."""

import math
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elements.measurements import NumberError, measure

numbers = st.floats(min_value=0, allow_infinity=False)
token = st.from_regex(r"[0-9+\-.eE_, \t\u0661infa]{0,12}", fullmatch=True)
RULE = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@given(st.lists(st.lists(numbers, min_size=1), min_size=1))
def test_averages_are_the_exact_ones_rounded(rows: list[list[float]]) -> None:
    values = [value for row in rows for value in row]
    found = measure([" ".join(map(repr, row)) for row in rows], 10_000)
    assert found.data_size == len(values)
    exact = sum(map(Fraction, values)) / len(values)
    assert math.isclose(found.average_before_normalization, exact, rel_tol=1e-15, abs_tol=5e-324)
    assert 0 <= found.average_after_normalization <= 1
    if max(values) > 1e-300:
        assert math.isclose(
            found.average_after_normalization, exact / Fraction(max(values)), rel_tol=1e-14, abs_tol=1e-300
        )


@given(token)
def test_a_row_is_valid_only_if_each_token_is_a_number(row: str) -> None:
    words = [word for word in re.split("[ \t]+", row) if word]
    good = bool(words) and all(RULE.fullmatch(word) and math.isfinite(float(word)) for word in words)
    try:
        measure([row], 100)
    except NumberError:
        assert not good
    else:
        assert good


def test_long_invalid_rows_take_linear_time() -> None:
    with pytest.raises(NumberError):
        measure(["1" * 100_000 + "x", "1 " * 100_000 + "x"], 1_000_000)


def test_a_maximum_of_zero_normalizes_to_zeros() -> None:
    assert measure(["0 0"], 10) == (0, 0, 2)


def test_a_sum_beyond_the_largest_double_has_an_average() -> None:
    assert measure(["1.7e308 1.7e308"], 10).average_before_normalization == pytest.approx(1.7e308, rel=1e-15)
