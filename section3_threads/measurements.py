"""Parse the numbers of an element, normalise them to the range 0 to 1 and average them.

A number is an optional `+`, ASCII digits with an optional decimal point, and an optional exponent; it is finite and
not negative. Spaces and tabs separate numbers.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    import simdjson
    from numpy.typing import NDArray

NUMBER = r"\+?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
NUMBERS = re.compile(rf"[ \t]*+(?:{NUMBER}(?:[ \t]++|\Z))*+")
NUMBER_BYTES = b"0123456789.eE+- \t"
WHITESPACE = " \t"
ARRAY_MIN_SIZE = 4096  # characters; preparing a JSON parser pays off only above
TOKEN_LENGTH = 40  # characters of an invalid token that a message shows

# An exact mean splits each number at this bit: the sum of 2**20 integers of 32 bits is exact in a double.
BLOCK, BITS = 1 << 20, 32

# Idle parsers, reused because allocating one takes longer than parsing; list.append and list.pop are atomic.
_parsers: "list[simdjson.Parser]" = []


class NumberError(ValueError):
    """Text that does not consist of numbers; the message names the invalid token and its position."""


@dataclass(frozen=True)
class Measurements:
    """The averages before and after normalisation, and the number of values."""

    average_before: float
    average_after: float
    size: int


def measure(rows: Sequence[str]) -> Measurements:
    """Average the numbers in `rows` before and after dividing them by their maximum.

    A maximum of zero normalises to zeros.

    Raises:
        NumberError: A token is not a number, or there are no numbers.

    """
    values = parse_numbers(rows)
    if isinstance(values, list):
        maximum = max(values)
        normalised = [value / maximum for value in values] if maximum else values
        return Measurements(mean(values), mean(normalised), len(values))
    maximum = float(values.max())
    return Measurements(exact_mean(values), exact_mean(values / maximum if maximum else values), len(values))


def parse_numbers(rows: Sequence[str]) -> "list[float] | NDArray[np.float64]":
    """Return the numbers in `rows`, in order: a list of floats, or a float64 array when the text is long.

    Raises:
        NumberError: A token is not a number, or there are no numbers.

    """
    text = " ".join(rows)
    values = _parse_array(text) if len(text) >= ARRAY_MIN_SIZE else None
    if values is not None and math.isfinite(values.max()):
        return values
    if not NUMBERS.fullmatch(text):
        raise _find_invalid_token(rows)
    numbers = list(map(float, text.split()))
    if not numbers:
        raise NumberError("data contains no numbers")
    if not math.isfinite(max(numbers)):
        raise _find_invalid_token(rows)
    return numbers


def mean(values: list[float]) -> float:
    """Return the mean, with the sum rounded once."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the sum, not the mean, exceeds the largest double
        return math.fsum(value / 2**64 for value in values) / len(values) * 2**64


def exact_mean(values: "NDArray[np.float64]") -> float:
    """Return the mean of an array; the sum is within one unit in the last place of `math.fsum`'s.

    Scaled by a power of two, each number splits without error into an integer of up to 32 bits, whose sum is exact, and
    a remainder of at most one half, whose sum is too small for its rounding to matter (after Demmel and Hida, "Accurate
    and Efficient Floating Point Summation", 2003).
    """
    import numpy as np

    exponent = BITS - math.frexp(values.max())[1]
    sums = []
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        scaled = block * 2.0**exponent if exponent < 1000 else np.ldexp(block, exponent)  # ldexp takes 4 times as long
        integers = np.rint(scaled)
        scaled -= integers
        sums += [float(integers.sum()), float(scaled.sum())]
    return math.ldexp(math.fsum(sums) / len(values), -exponent)


def _parse_array(text: str) -> "NDArray[np.float64] | None":
    """Parse text that becomes a JSON array of numbers when its whitespace becomes commas; None for any other text."""
    try:
        import simdjson  # noqa: F401
    except ImportError:  # simdjson has no wheel for this Python: the caller parses with float()
        return None
    if not text.isascii() or text.encode("ascii").translate(None, NUMBER_BYTES):  # other JSON values, or no number
        return None
    if "-" in text and text.count("-") != text.count("e-") + text.count("E-"):  # a negative number
        return None
    text = text.strip(WHITESPACE)
    values = _parse_json_array(text.encode("ascii").replace(b" ", b","))
    if values is None and ("  " in text or "\t" in text):  # searching for these first would slow down most texts
        values = _parse_json_array(",".join(text.split()).encode("ascii"))
    return values


def _parse_json_array(items: bytes) -> "NDArray[np.float64] | None":
    """Return the numbers; None where JSON has no such array, as for `+5`, `007` and `.5`."""
    import numpy as np
    import simdjson

    parser = _parsers.pop() if _parsers else simdjson.Parser()
    try:
        array = cast("simdjson.Array", parser.parse(b"[" + items + b"]"))
        return np.frombuffer(array.as_buffer(of_type="d"), np.float64) if items else None
    except (ValueError, TypeError, RuntimeError):
        return None
    finally:
        _parsers.append(parser)


def _find_invalid_token(rows: Sequence[str]) -> NumberError:
    """Return an error that names the first invalid token; rows and positions count from 1."""
    number = re.compile(NUMBER)
    for row_number, row in enumerate(rows, 1):
        for position, token in enumerate(re.findall(r"[^ \t]+", row), 1):
            if number.fullmatch(token) and math.isfinite(float(token)):
                continue
            if token.startswith("-") and number.fullmatch(token[1:]):
                problem = "is negative"
            elif number.fullmatch(token):
                problem = "is too large"
            else:
                problem = "is not a number"
            return NumberError(f"{token[:TOKEN_LENGTH]!a} {problem} (row {row_number}, position {position})")
    raise AssertionError("rejected text contains an invalid token")
