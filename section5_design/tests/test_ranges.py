"""Ranges of instance IDs, by which the rows about many images are found."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from archive.ranges import BLOCK, merge_blocks

BLOCKS = st.sets(st.integers(0, 60))


@given(BLOCKS)
def test_ranges_contain_every_block_and_nothing_else(blocks: set[int]) -> None:
    inside = {one // BLOCK for low, high in merge_blocks(blocks) for one in range(low, high + 1)}
    assert inside == blocks


@given(BLOCKS)
def test_ranges_are_in_order_with_gaps_between_them(blocks: set[int]) -> None:
    assert all(before[1] + 1 < after[0] for before, after in pairwise(merge_blocks(blocks)))


def test_blocks_that_follow_one_another_are_one_range() -> None:
    assert merge_blocks([3, 1, 2]) == [(BLOCK, 4 * BLOCK - 1)]


def test_images_from_different_times_have_separate_ranges() -> None:
    assert merge_blocks([0, 100]) == [(0, BLOCK - 1), (100 * BLOCK, 101 * BLOCK - 1)]
