"""Count, mean, spread and range of numbers, computed block by block.

Each block is computed in two passes, and blocks merge by the pairwise update of Chan, Golub and LeVeque, "Updating
Formulae and a Pairwise Algorithm for Computing Sample Variances" (Stanford CS-TR-79-773, 1979): no catastrophic
cancellation, whatever the order and the size of the blocks.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Count, mean, sum of squared distances from the mean (`m2`), minimum and maximum of finite numbers."""

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    @classmethod
    def from_array(cls, values: NDArray[np.float64]) -> "Moments":
        """Return the moments of a one-dimensional float64 array of finite numbers (not checked).

        Squares of distances beyond 1e154 overflow `m2` to infinity; below 1e-154 they are lost.
        """
        count = values.size
        if count == 0:
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):
            minimum, maximum = float(values.min()), float(values.max())
            shift = minimum + (maximum - minimum) / 2 if maximum - minimum < math.inf else 0.0
            # Distances from the middle of the range are small, so their sum loses less than the sum of the values.
            distances = values - shift
            offset = float(distances.sum()) / count
            distances -= offset
            rest = float(distances.sum())
            np.multiply(distances, distances, out=distances)  # not np.dot: its threads cost more than they bring here
            m2 = max(float(distances.sum()) - rest * rest / count, 0.0)
        return cls(count, shift + (offset + rest / count), m2, minimum, maximum)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of numbers together."""
        if not self.count or not other.count:
            return other if other.count else self
        count = self.count + other.count
        delta = other.mean - self.mean
        share = other.count / count
        return Moments(
            count,
            self.mean + delta * share,
            self.m2 + other.m2 + delta * delta * self.count * share,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )

    def standard_deviation(self, *, population: bool = False) -> float | None:
        """Return the sample (n - 1) or population (n) standard deviation; None where undefined or too large."""
        degrees = self.count if population else self.count - 1
        if degrees < 1:
            return None
        deviation = math.sqrt(self.m2 / degrees)
        return deviation if math.isfinite(deviation) else None
