"""Distinct values and the most frequent ones of a text column, in memory that does not grow with the file.

Both are exact up to `CAPACITY` distinct values. Beyond that, the number of distinct values is estimated from the
smallest hashes (Bar-Yossef et al., "Counting Distinct Elements in a Data Stream", RANDOM 2002), and frequent values
are found with the counters of Misra and Gries, merged as in Agarwal et al., "Mergeable Summaries" (PODS 2012): no
value that is frequent is missed, and a count is at most `overlooked` too low.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

CAPACITY = 20_000


class Frequencies:
    """How often each value occurred."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.overlooked = 0
        self._smallest_hashes: NDArray[np.uint64] | None = None

    @property
    def exact(self) -> bool:
        """Whether every count is exact."""
        return self._smallest_hashes is None

    @property
    def distinct(self) -> int:
        """Number of distinct values; an estimate, good to about one percent, where not `exact`."""
        if self._smallest_hashes is None:
            return len(self.counts)
        kth = float(self._smallest_hashes[-1]) / 2**64
        return round((len(self._smallest_hashes) - 1) / kth)

    def add(self, counts: Mapping[str, int]) -> None:
        """Take in the values of one batch with their counts."""
        if not self.exact:
            self._add_hashes(counts)
        self.counts.update(counts)
        if len(self.counts) > CAPACITY:
            if self.exact:
                self._add_hashes(self.counts)
            self._make_room()

    def most_frequent(self, number: int = 3) -> list[tuple[str, int]]:
        """The values that occurred most often, ties by value, with their counts (lower bounds where not `exact`)."""
        return heapq.nsmallest(number, self.counts.items(), key=lambda item: (-item[1], item[0]))

    def _make_room(self) -> None:
        """Subtract from all the largest count that does not fit: each subtraction takes CAPACITY + 1 values at once."""
        excess = heapq.nlargest(CAPACITY + 1, self.counts.values())[-1]
        self.overlooked += excess
        self.counts = Counter({value: count - excess for value, count in self.counts.items() if count > excess})

    def _add_hashes(self, values: Mapping[str, int]) -> None:
        digests = b"".join(hashlib.blake2b(v.encode("utf-8", "surrogatepass"), digest_size=8).digest() for v in values)
        hashes = np.unique(np.frombuffer(digests, np.uint64))
        if self._smallest_hashes is not None:
            hashes = np.union1d(self._smallest_hashes, hashes)
        self._smallest_hashes = hashes[:CAPACITY]
