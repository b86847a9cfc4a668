"""Normalisation to the range 0 to 1, and averages that are exact to the last place."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The sum of 2**20 whole numbers of 32 bits is exact in a double. Smaller pieces would be kinder to the cache, but
# numpy lets other threads run at every operation, and each change of threads costs more than it brings.
PIECE, BITS = 1 << 20, 32


@dataclass(frozen=True)
class Summary:
    """What is said of an element's data: averages before and after the normalisation, and how many numbers."""

    average_before: float
    average_after: float
    size: int


def summarise(values: "list[float] | NDArray[np.float64]") -> Summary:
    """Averages before and after the normalisation to 0 to 1 by the maximum; a maximum of zero gives zeros.

    The numbers are finite, not negative, and at least one: a list of a few, an array of many.
    """
    if isinstance(values, list):
        maximum = max(values)
        normalised = [value / maximum for value in values] if maximum else values
        return Summary(average_of_few(values), average_of_few(normalised), len(values))
    maximum = values.max()
    pieces = [values[start : start + PIECE] for start in range(0, len(values), PIECE)]
    normalised_pieces = (piece / maximum if maximum else piece for piece in pieces)
    before = average_of_many(pieces, len(values), float(maximum))
    return Summary(before, average_of_many(normalised_pieces, len(values), 1.0 if maximum else 0.0), len(values))


def average_of_few(values: list[float]) -> float:
    """The mean, rounded once for the sum and once for the division."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the sum, not the mean, is beyond the largest double
        return math.fsum(value / 2**64 for value in values) / len(values) * 2**64


def average_of_many(pieces: "Iterable[NDArray[np.float64]]", count: int, maximum: float) -> float:
    """The mean of arrays of up to PIECE numbers each; their sum is within one unit in the last place of math.fsum's.

    Scaled by a power of two, each number is split without error into a whole number of up to 32 bits, whose sum is
    exact, and a rest of at most one half, whose sum is too small for its rounding to matter (the idea of Demmel and
    Hida, "Accurate and Efficient Floating Point Summation", 2003).
    """
    import numpy as np

    exponent = BITS - math.frexp(maximum)[1]
    sums = []
    for piece in pieces:
        scaled = piece * 2.0**exponent if exponent < 1000 else np.ldexp(piece, exponent)
        whole = np.rint(scaled)
        scaled -= whole
        sums += [float(whole.sum()), float(scaled.sum())]
    return math.ldexp(math.fsum(sums) / count, -exponent)
