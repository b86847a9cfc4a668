"""Ranges of instance IDs: the images of a series are stored one after the other, so their IDs are close together.

Rows about many images, such as their jobs and submissions, are found by ranges in a fraction of the pages that a search
for each image reads: 10,000 images of 50 studies have about 50 ranges.
"""

from collections.abc import Iterable, Sequence

from django.db.models import Count, F, Q

from archive.models import Instance

BLOCK = 64  # IDs; a range consists of whole blocks
MAX_RATIO = 4  # of the IDs in the ranges to the images that they are for
MAX_RANGES = 100

Ranges = list[tuple[int, int]]  # first and last ID


def find_ranges(series: Sequence[int]) -> Ranges | None:
    """Return ranges of IDs that contain the instances of series; None if these are too scattered."""
    found = Instance.objects.filter(series__in=series).order_by().annotate(block=F("pk") / BLOCK)
    counts = dict(found.values_list("block").annotate(Count("pk")))
    ranges = merge_blocks(counts)
    width = len(counts) * BLOCK
    return ranges if len(ranges) <= MAX_RANGES and width <= MAX_RATIO * sum(counts.values()) else None


def merge_blocks(blocks: Iterable[int]) -> Ranges:
    """Merge the blocks that follow one another."""
    ranges: Ranges = []
    for block in sorted(blocks):
        low, high = block * BLOCK, (block + 1) * BLOCK - 1
        if ranges and ranges[-1][1] == low - 1:
            ranges[-1] = ranges[-1][0], high
        else:
            ranges.append((low, high))
    return ranges


def in_ranges(field: str, ranges: Ranges | None) -> Q:
    """Return a filter for IDs within the ranges; without ranges, every ID passes."""
    condition = Q()
    for low, high in ranges or ():
        condition |= Q(**{f"{field}__gte": low, f"{field}__lte": high})
    return condition
