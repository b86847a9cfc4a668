"""Parse the numbers of an element's data and compute their averages before and after normalization."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

# An optional +, ASCII digits with an optional decimal point, an optional exponent; possessive, so that it is linear.
PORTABLE_NUMBER = r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"  # for other regular expression engines
NUMBER = r"\+?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
ROW = re.compile(rf"[ \t]*+(?:{NUMBER}(?:[ \t]++|\Z))*+")
MAX_SHOWN = 40  # characters of an invalid token


class Measurements(NamedTuple):
    """Averages before and after normalization to 0 to 1 by the maximum, and how many numbers there are."""

    average_before_normalization: float
    average_after_normalization: float
    data_size: int


class NumberError(ValueError):
    """Data that are not numbers; `row` counts from 0, and is None where no single row is at fault."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


def measure(rows: Sequence[str], max_numbers: int) -> Measurements:
    """Compute the averages of all numbers in the rows; a maximum of zero normalizes to zeros.

    Each average is the exactly rounded sum (math.fsum) divided by the count.

    Raises:
        NumberError: a token is not a number, there are none, or more than `max_numbers`.
    """
    text = " ".join(rows)
    values = list(map(float, text.split())) if ROW.fullmatch(text) else []
    if not values or not math.isfinite(maximum := max(values)):
        raise _find_error(rows)
    if len(values) > max_numbers:
        raise NumberError(f"holds {len(values):,} numbers; an element may hold {max_numbers:,}")
    normalized = [value / maximum for value in values] if maximum else values
    return Measurements(_average(values), _average(normalized), len(values))


def _average(values: list[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the sum, not the average, exceeds the largest double
        return math.fsum(value / 2**64 for value in values) / len(values) * 2**64


def _find_error(rows: Sequence[str]) -> NumberError:
    """Return the error that names the first invalid token; positions in a row count from 1."""
    number = re.compile(NUMBER)
    for row, text in enumerate(rows):
        for position, token in enumerate(re.findall(r"[^ \t]+", text), 1):
            if not number.fullmatch(token):
                negative = token.startswith("-") and number.fullmatch(token[1:])
                reason = "is negative" if negative else "is not a number"
            elif math.isinf(float(token)):
                reason = "is too large"
            else:
                continue
            return NumberError(f"{token[:MAX_SHOWN]!a} at position {position} of the row {reason}", row)
    return NumberError("holds no numbers")
