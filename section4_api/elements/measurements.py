"""Numbers out of an element's data, strictly, and their averages before and after normalisation."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

# An optional +, ASCII digits with an optional decimal point among or beside them, an optional exponent.
PLAIN_NUMBER = r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"  # as other languages' regular expressions have it
NUMBER = r"\+?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
ROW = re.compile(rf"[ \t]*+(?:{NUMBER}(?:[ \t]++|\Z))*+")
SHOWN = 40  # characters of a bad token


class Measurements(NamedTuple):
    """Averages before and after the normalisation to 0 to 1 by the maximum, and how many numbers there are."""

    average_before: float
    average_after: float
    size: int


class NumberError(ValueError):
    """Data that is not made of numbers; `row` counts from 0, and is None where no row alone is to blame."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


def measure(rows: Sequence[str], most: int) -> Measurements:
    """The averages of all the numbers in the rows; a maximum of zero normalises to zeros.

    Each average is the exactly rounded sum (math.fsum) divided by the count.

    Raises:
        NumberError: a token is no number, there are none at all, or more than `most`.

    """
    text = " ".join(rows)
    values = list(map(float, text.split())) if ROW.fullmatch(text) else []
    if not values or not math.isfinite(maximum := max(values)):
        raise _what_is_wrong(rows)
    if len(values) > most:
        raise NumberError(f"holds {len(values):,} numbers; an element may hold {most:,}")
    normalised = [value / maximum for value in values] if maximum else values
    return Measurements(_average(values), _average(normalised), len(values))


def _average(values: list[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the sum, not the average, is beyond the largest double
        return math.fsum(value / 2**64 for value in values) / len(values) * 2**64


def _what_is_wrong(rows: Sequence[str]) -> NumberError:
    """The error that names the first bad token; places in a row count from 1."""
    number = re.compile(NUMBER)
    for row, text in enumerate(rows):
        for place, token in enumerate(re.findall(r"[^ \t]+", text), 1):
            if not number.fullmatch(token):
                negative = token.startswith("-") and number.fullmatch(token[1:])
                what = "is negative" if negative else "is no number"
            elif math.isinf(float(token)):
                what = "is too large"
            else:
                continue
            return NumberError(f"{token[:SHOWN]!a}, place {place} of the row, {what}", row)
    return NumberError("holds no numbers")
