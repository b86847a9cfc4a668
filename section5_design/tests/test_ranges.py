"""Ranges of instance IDs, by which the rows about many images are found."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from archive.ranges import MAX_RATIO, merge_extents

IDS = st.lists(st.sets(st.integers(1, 2000), min_size=1, max_size=200), max_size=20)


def extents_of(series: list[set[int]]) -> list[tuple[int, int, int]]:
    return [(min(ids), max(ids), len(ids)) for ids in series]


@given(IDS)
def test_ranges_contain_every_image(series: list[set[int]]) -> None:
    ranges = merge_extents(extents_of(series))
    assert ranges is None or all(any(low <= one <= high for low, high in ranges) for ids in series for one in ids)


@given(IDS)
def test_ranges_do_not_overlap_and_are_in_order(series: list[set[int]]) -> None:
    ranges = merge_extents(extents_of(series)) or []
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


def test_images_one_after_the_other_have_one_range() -> None:
    assert merge_extents([(1, 100, 100), (101, 200, 100)]) == [(1, 200)]


def test_series_that_were_sent_at_the_same_time_share_a_range() -> None:
    assert merge_extents([(1, 199, 100), (2, 200, 100)]) == [(1, 200)]


def test_studies_from_different_times_have_separate_ranges() -> None:
    assert merge_extents([(5001, 5100, 100), (1, 100, 100)]) == [(1, 100), (5001, 5100)]


def test_a_series_with_a_late_image_has_no_ranges() -> None:
    assert merge_extents([(1, 100 * MAX_RATIO + 1, 100)]) is None


def test_no_series_have_no_ranges() -> None:
    assert merge_extents([]) == []
