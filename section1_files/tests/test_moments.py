import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import csv_statistics
from moments import Moments
from nist_strd import DATA_SETS, DataSet
from support import Run, Write

FINITE = st.floats(-1e100, 1e100).filter(lambda number: number == 0 or abs(number) > 1e-100)


def count_correct_digits(value: float | None, certified: float) -> float:
    """Return the negative logarithm of the relative error, as NIST defines it (at most 15, the limit of a double)."""
    assert value is not None
    return 15.0 if value == certified else min(15.0, -math.log10(abs(value - certified) / abs(certified)))


def compute_moments(values: list[float]) -> Moments:
    return Moments.from_array(np.array(values, np.float64))


@pytest.mark.parametrize("data", DATA_SETS.values(), ids=DATA_SETS.keys())
def test_mean_has_14_correct_digits_on_nist_data(data: DataSet) -> None:
    assert count_correct_digits(compute_moments([float(value) for value in data.values]).mean, data.mean) >= 14


@pytest.mark.parametrize("data", DATA_SETS.values(), ids=DATA_SETS.keys())
def test_standard_deviation_reaches_double_precision_on_nist_data(data: DataSet) -> None:
    deviation = compute_moments([float(value) for value in data.values]).standard_deviation()
    assert count_correct_digits(deviation, data.standard_deviation) >= data.digits


@pytest.mark.parametrize("data", DATA_SETS.values(), ids=DATA_SETS.keys())
@pytest.mark.parametrize("polars_min_bytes", [0, csv_statistics.POLARS_MIN_BYTES], ids=["by polars", "by csv"])
def test_nist_data_read_from_a_file_keep_their_precision(
    data: DataSet, polars_min_bytes: int, csv_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_statistics, "POLARS_MIN_BYTES", polars_min_bytes)
    (column,) = csv_statistics.compute_statistics(csv_file("\n".join(["y", *data.values]))).columns
    assert count_correct_digits(column.moments.mean, data.mean) >= 14
    assert count_correct_digits(column.moments.standard_deviation(), data.standard_deviation) >= data.digits


@given(st.lists(FINITE, min_size=2), st.data())
def test_merged_parts_equal_the_moments_of_all_values(values: list[float], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(values)))
    merged, complete = compute_moments(values[:at]).merge(compute_moments(values[at:])), compute_moments(values)
    largest = max(map(abs, values))
    assert (merged.count, merged.minimum, merged.maximum) == (complete.count, complete.minimum, complete.maximum)
    assert merged.mean == pytest.approx(complete.mean, rel=1e-11, abs=1e-14 * largest)
    assert merged.m2 == pytest.approx(complete.m2, rel=1e-11, abs=1e-14 * largest**2)


@given(st.lists(FINITE, min_size=1))
def test_mean_and_m2_match_exact_arithmetic(values: list[float]) -> None:
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    m2 = sum((value - mean) ** 2 for value in exact)
    largest = max(map(abs, values))
    assert compute_moments(values).mean == pytest.approx(float(mean), rel=1e-13, abs=1e-14 * largest)
    assert compute_moments(values).m2 == pytest.approx(float(m2), rel=1e-12, abs=1e-14 * largest**2)


def test_sample_deviation_of_one_number_is_undefined_and_population_is_zero() -> None:
    assert compute_moments([5.0]).standard_deviation() is None
    assert compute_moments([5.0]).standard_deviation(population=True) == 0.0


def test_standard_deviation_of_no_numbers_is_undefined() -> None:
    assert compute_moments([]).standard_deviation(population=True) is None


def test_overflowing_standard_deviation_is_null(csv_file: Write, run: Run) -> None:
    outcome = run("csv", csv_file("v\n1.7e308\n-1.7e308\n"), "--json")
    assert '"standard_deviation": null' in outcome.output
