import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import measurements
from measurements import Measurements, exact_mean, mean, measure

NUMBERS = st.lists(
    st.one_of(st.floats(0, 1e308), st.integers(0, 10**6).map(float), st.floats(0, 1)), min_size=1, max_size=60
)


def within_an_ulp(found: float, expected: float, count: int = 1) -> bool:
    """Equal to one unit in the last place; of many numbers, to one of their sum and one of the division."""
    of_the_sum = math.ulp(min(expected * count, 1e308)) / count if count > 1 else 0.0
    return abs(found - expected) <= math.ulp(expected) + of_the_sum


def mean(values: list[float]) -> float:
    """The mean by math.fsum, where its sum fits a double; else by exact arithmetic."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return float(sum(map(Fraction, values)) / len(values))


@given(NUMBERS, st.booleans())
@settings(deadline=None, max_examples=400)
def test_averages_are_exact_to_an_ulp_of_fsum(values: list[float], as_array: bool) -> None:
    maximum = max(values)
    normalised = [value / maximum for value in values] if maximum else values
    summary = summarise(np.array(values) if as_array else values)
    assert within_an_ulp(summary.average_before, mean(values), len(values) if as_array else 1)
    assert within_an_ulp(summary.average_after, mean(normalised), len(values) if as_array else 1)
    assert summary.size == len(values)


@pytest.mark.parametrize("spread", [1.0, 1e300, 1e-300, 4096.0])
def test_averages_of_many_are_exact_to_an_ulp_of_fsum(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averages, "PIECE", 1 << 12)
    values = np.random.default_rng(1).uniform(0, spread, 100_001)
    summary = summarise(values)
    assert within_an_ulp(summary.average_before, mean(values.tolist()))
    assert within_an_ulp(summary.average_after, mean((values / values.max()).tolist()))


@pytest.mark.parametrize("values", [[0.0, 0.0], np.zeros(3)])
def test_a_maximum_of_zero_normalises_to_zeros(values: "list[float] | np.ndarray") -> None:
    summary = summarise(values)
    assert (summary.average_before, summary.average_after) == (0.0, 0.0)


@given(NUMBERS)
def test_the_average_after_lies_between_zero_and_one(values: list[float]) -> None:
    assert 0 <= summarise(values).average_after <= 1


def test_the_example_of_the_test() -> None:
    assert summarise([54, 26, 34, 75, 87, 75]).average_before == 58.5
