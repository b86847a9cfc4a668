from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import frequencies
from frequencies import Counted, Frequencies

BATCHES = st.lists(st.lists(st.integers(0, 60).map(str), max_size=40), max_size=6)


@pytest.mark.parametrize("through_polars", [False, True], ids=["by csv", "by polars"])
@given(BATCHES)
@settings(deadline=None)
def test_counts_are_lower_bounds_and_nothing_frequent_is_missed(through_polars: bool, batches: list[list[str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frequencies, "CAPACITY", 8)
        found = Frequencies()
        for batch in batches:
            found.add(counted(batch) if through_polars else Counted(Counter(batch)))
    truth = Counter(value for batch in batches for value in batch)
    assert len(found.counts) <= 8
    assert found.exact == (len(truth) <= 8)
    for value, count in truth.items():
        assert count - found.overlooked <= found.counts[value] <= count
    if found.exact:
        assert found.distinct == len(truth)


def counted(batch: list[str]) -> Counted:
    table = pl.Series("value", batch, dtype=pl.String).value_counts(name="count")
    return Counted.of_distinct(table["value"], table["count"])


def test_the_estimate_of_distinct_values_is_good_to_three_percent() -> None:
    found = Frequencies()
    for start in range(0, 200_000, 10_000):
        found.add(Counted({str(number): 1 for number in range(start, start + 15_000)}))
    assert found.distinct == pytest.approx(205_000, rel=0.03)
