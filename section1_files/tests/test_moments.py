import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import csv_report
import csv_statistics
from moments import Moments
from nist_strd import DATA_SETS, DataSet
from support import Run, Write

FINITE = st.floats(-1e100, 1e100).filter(lambda number: number == 0 or abs(number) > 1e-100)


def correct_digits(found: float | None, certified: float) -> float:
    """The logarithm of the relative error, as NIST counts (15 is all that a double has)."""
    assert found is not None
    return 15.0 if found == certified else min(15.0, -math.log10(abs(found - certified) / abs(certified)))


def of(values: list[float]) -> Moments:
    return Moments.from_array(np.array(values, np.float64))


@pytest.mark.parametrize("data", DATA_SETS.values(), ids=DATA_SETS.keys())
def test_mean_of_nist_sets_has_14_digits(data: DataSet) -> None:
    assert correct_digits(of([float(value) for value in data.values]).mean, data.mean) >= 14


@pytest.mark.parametrize("data", DATA_SETS.values(), ids=DATA_SETS.keys())
def test_standard_deviation_of_nist_sets_is_at_the_limit_of_doubles(data: DataSet) -> None:
    found = of([float(value) for value in data.values]).standard_deviation()
    assert correct_digits(found, data.standard_deviation) >= data.digits


@pytest.mark.parametrize("data", DATA_SETS.values(), ids=DATA_SETS.keys())
@pytest.mark.parametrize("small", [0, csv_statistics.POLARS_MIN_BYTES], ids=["by polars", "by csv"])
def test_nist_sets_keep_their_digits_through_a_file(
    data: DataSet, small: int, csv_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_statistics, "POLARS_MIN_BYTES", small)
    (column,) = csv_statistics.compute_statistics(csv_file("\n".join(["y", *data.values]))).columns
    assert correct_digits(csv_report.mean(column), data.mean) >= 14
    assert correct_digits(column.moments.standard_deviation(), data.standard_deviation) >= data.digits


@given(st.lists(FINITE, min_size=2), st.data())
def test_parts_merge_to_the_whole(values: list[float], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(values)))
    merged, whole = of(values[:at]).merge(of(values[at:])), of(values)
    largest = max(map(abs, values))
    assert (merged.count, merged.minimum, merged.maximum) == (whole.count, whole.minimum, whole.maximum)
    assert merged.mean == pytest.approx(whole.mean, rel=1e-11, abs=1e-14 * largest)
    assert merged.m2 == pytest.approx(whole.m2, rel=1e-11, abs=1e-14 * largest**2)


@given(st.lists(FINITE, min_size=1))
def test_mean_and_squares_agree_with_exact_arithmetic(values: list[float]) -> None:
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    squares = sum((value - mean) ** 2 for value in exact)
    largest = max(map(abs, values))
    assert of(values).mean == pytest.approx(float(mean), rel=1e-13, abs=1e-14 * largest)
    assert of(values).m2 == pytest.approx(float(squares), rel=1e-12, abs=1e-14 * largest**2)


def test_deviation_of_one_number_is_undefined_in_a_sample_zero_in_a_population() -> None:
    assert of([5.0]).standard_deviation() is None
    assert of([5.0]).standard_deviation(population=True) == 0.0


def test_no_numbers_have_no_standard_deviation() -> None:
    assert of([]).standard_deviation(population=True) is None


def test_a_spread_too_large_for_a_double_is_not_shown_as_a_number(csv_file: Write, run: Run) -> None:
    outcome = run("csv", csv_file("v\n1.7e308\n-1.7e308\n"), "--json")
    assert '"standard_deviation": null' in outcome.output
