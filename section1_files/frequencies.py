"""Distinct values and the most frequent ones of a text column, in memory that does not grow with the file.

Both are exact up to `CAPACITY` distinct values. Beyond that, the number of distinct values is estimated from the
smallest hashes (Bar-Yossef et al., "Counting Distinct Elements in a Data Stream", RANDOM 2002), and frequent values
are found with the counters of Misra and Gries, merged as in Agarwal et al., "Mergeable Summaries" (PODS 2012): no
value that is frequent is missed, and a count is at most `overlooked` too low.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

CAPACITY = 20_000


@dataclass(frozen=True)
class Counted:
    """Values of a batch with their counts; of a batch with more than CAPACITY distinct values, the most frequent.

    Each count is then `overlooked` too low, and `hashes` has the smallest hashes of all of its values.
    """

    counts: Mapping[str, int]
    overlooked: int = 0
    hashes: NDArray[np.uint64] | None = None

    @classmethod
    def of_distinct(cls, values: "pl.Series", counts: "pl.Series") -> "Counted":
        """From each distinct value and its count."""
        if len(values) <= CAPACITY:
            return cls(dict(zip(values, counts, strict=True)))
        order = counts.arg_sort(descending=True)
        overlooked = int(counts[order[CAPACITY]])
        kept = order.head(CAPACITY)
        kept = kept.filter(counts.gather(kept) > overlooked)
        reduced = dict(zip(values.gather(kept), counts.gather(kept) - overlooked, strict=True))
        return cls(reduced, overlooked, smallest_hashes(values))


def smallest_hashes(values: "pl.Series | Iterable[str]") -> NDArray[np.uint64]:
    """The CAPACITY smallest hashes of the values, in order, each once."""
    import polars as pl

    series = values if isinstance(values, pl.Series) else pl.Series(list(values), dtype=pl.String)
    return np.unique(series.hash(seed=0).to_numpy())[:CAPACITY]


class Frequencies:
    """How often each value occurred."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.overlooked = 0
        self._hashes: NDArray[np.uint64] | None = None

    @property
    def exact(self) -> bool:
        """Whether every count is exact."""
        return self._hashes is None

    @property
    def distinct(self) -> int:
        """Number of distinct values; an estimate, good to about one percent, where not `exact`."""
        if self._hashes is None:
            return len(self.counts)
        return round((len(self._hashes) - 1) / (float(self._hashes[-1]) / 2**64))

    def add(self, batch: Counted) -> None:
        """Take in the values of one batch."""
        if self._hashes is None and (batch.overlooked or len(self.counts.keys() | batch.counts.keys()) > CAPACITY):
            self._hashes = smallest_hashes(self.counts)
        if self._hashes is not None:
            hashes = smallest_hashes(batch.counts) if batch.hashes is None else batch.hashes
            self._hashes = np.union1d(self._hashes, hashes)[:CAPACITY]
        self.counts.update(batch.counts)
        self.overlooked += batch.overlooked
        if len(self.counts) > CAPACITY:
            self._make_room()

    def most_frequent(self, number: int = 3) -> list[tuple[str, int]]:
        """The values that occurred most often, ties by value, with their counts.

        Where not `exact`, the counts are lower bounds, and only values are named that stand out from what was
        overlooked.
        """
        outstanding = ((value, count) for value, count in self.counts.items() if self.exact or count > self.overlooked)
        return heapq.nsmallest(number, outstanding, key=lambda item: (-item[1], item[0]))

    def _make_room(self) -> None:
        """Subtract from all the largest count that does not fit: each subtraction takes CAPACITY + 1 values at once."""
        excess = heapq.nlargest(CAPACITY + 1, self.counts.values())[-1]
        self.overlooked += excess
        self.counts = Counter({value: count - excess for value, count in self.counts.items() if count > excess})
