"""Ranges of instance IDs: the images of a series are stored one after the other, so their IDs are close together.

Rows about many images, such as their jobs and submissions, are found by ranges in a fraction of the pages that a search
for each image reads: 10,000 images of 50 studies have about 50 ranges.
"""

from collections.abc import Sequence

from django.db.models import Count, Max, Min, Q

from archive.models import Instance

MAX_RATIO = 4  # of the IDs in the ranges to the images that they are for
MAX_RANGES = 100

Ranges = list[tuple[int, int]]  # first and last ID


def find_ranges(series: Sequence[int]) -> Ranges | None:
    """Return ranges of IDs that contain the instances of series; None if these are too scattered."""
    found = Instance.objects.filter(series__in=series).order_by().values_list("series")
    extents = found.annotate(low=Min("pk"), high=Max("pk"), count=Count("pk"))
    return merge_extents(list(extents.values_list("low", "high", "count")))


def merge_extents(extents: Sequence[tuple[int, int, int]]) -> Ranges | None:
    """Merge the first and the last ID of each series, with its number of images; None if most IDs are of others."""
    ranges: Ranges = []
    for low, high, _ in sorted(extents):
        if ranges and low <= ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], max(high, ranges[-1][1])
        else:
            ranges.append((low, high))
    width = sum(high - low + 1 for low, high in ranges)
    images = sum(count for _, _, count in extents)
    return ranges if len(ranges) <= MAX_RANGES and width <= MAX_RATIO * images else None


def in_ranges(field: str, ranges: Ranges | None) -> Q:
    """Return the condition that an ID is in one of the ranges; none if there are none."""
    condition = Q()
    for low, high in ranges or ():
        condition |= Q(**{f"{field}__gte": low, f"{field}__lte": high})
    return condition
