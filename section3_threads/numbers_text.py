"""Numbers out of text, strictly and at the speed of the machine.

A number is an optional `+`, ASCII digits with an optional decimal point among or beside them, and an optional
exponent; it is finite and not negative. Blanks and tabs separate numbers. One rule, three ways: large plain texts go
through a JSON parser, whose numbers are a part of the rule's; the others through one regular expression; and what that
refuses is looked at token by token, to name the bad one.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    import simdjson
    from numpy.typing import NDArray

NUMBER = r"\+?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
TEXT = re.compile(rf"[ \t]*+(?:{NUMBER}(?:[ \t]++|\Z))*+")
LARGE = 4096  # characters; below, preparing a JSON parser costs more than it brings
FEW = 1000  # numbers; more are worth an array
SHOWN = 40  # characters of a bad token

BLANKS = " \t"
BLANK, TAB, COMMA = b" \t,"

_parsers: "list[simdjson.Parser]" = []  # those not at work; taking and giving back are atomic


class NumberError(ValueError):
    """Text that is not made of numbers; the message names the bad token and its place."""


def numbers_of(rows: Sequence[str]) -> "list[float] | NDArray[np.float64]":
    """The numbers in the rows, one after the other: a list of a few, a float64 array of many.

    Raises:
        NumberError: a token is no number, or there are none at all.

    """
    text = " ".join(rows)
    values = _by_json(text) if len(text) >= LARGE else None
    if values is not None and len(values) and math.isfinite(values.max()):
        return values
    if not TEXT.fullmatch(text):
        raise _bad_token(rows)
    numbers = list(map(float, text.split()))
    if not numbers:
        raise NumberError("data holds no numbers")
    if not math.isfinite(max(numbers)):
        raise _bad_token(rows)
    return numbers if len(numbers) <= FEW else _array(numbers)


def _array(numbers: list[float]) -> "NDArray[np.float64]":
    import numpy as np

    return np.array(numbers, np.float64)


def _by_json(text: str) -> "NDArray[np.float64] | None":
    """The numbers of a text that becomes a JSON array when its blanks become commas; None for every other text."""
    # What the parser would let pass and the rule does not: commas, line ends, arrays, a minus before a number.
    if not text.isascii() or any(character in text for character in ",\n\r["):
        return None
    import numpy as np

    if "-" in text and text.count("-") != text.count("e-") + text.count("E-"):
        return None
    codes = np.frombuffer(bytearray(f"[{text.strip(BLANKS)}]", "ascii"), np.uint8)
    if "\t" in text:
        codes[codes == TAB] = BLANK
    codes += (codes == BLANK).view(np.uint8) * np.uint8(COMMA - BLANK)
    values = _parsed_array(codes.tobytes())
    if values is None:  # maybe for blanks in a row
        first_comma = (codes == COMMA) & ~np.append(codes[1:] == COMMA, False)
        values = _parsed_array(codes[first_comma | (codes != COMMA)].tobytes())
    return values


def _parsed_array(array: bytes) -> "NDArray[np.float64] | None":
    """The numbers of a JSON array; None where it holds anything else."""
    try:
        import simdjson
    except ImportError:  # no wheel for this Python: orjson, at a third of the speed
        return _parsed_array_by_orjson(array)
    # A parser keeps its memory; to ask the system for new memory each time would take longer than to parse.
    import numpy as np

    parser = _parsers.pop() if _parsers else simdjson.Parser()
    try:
        parsed = cast("simdjson.Array", parser.parse(array))
        return np.frombuffer(parsed.as_buffer(of_type="d"), np.float64)
    except (ValueError, TypeError, RuntimeError):
        return None
    finally:
        _parsers.append(parser)


def _parsed_array_by_orjson(array: bytes) -> "NDArray[np.float64] | None":
    import numpy as np
    import orjson

    if re.search(rb"[^0-9.eE+,\t\[\]]", array) or array.count(b"[") > 1:
        return None  # true, null and strings would become numbers below
    try:
        return np.array(orjson.loads(array), np.float64)
    except ValueError:
        return None


def _bad_token(rows: Sequence[str]) -> NumberError:
    """The error that names the first bad token; rows and tokens count from 1."""
    number = re.compile(NUMBER)
    for row_number, row in enumerate(rows, 1):
        for place, token in enumerate(re.findall(r"[^ \t]+", row), 1):
            if number.fullmatch(token) and float(token) < float("inf"):
                continue
            shown = ascii(token[:SHOWN])
            if token.startswith("-") and number.fullmatch(token[1:]):
                what = "is negative"
            elif number.fullmatch(token):
                what = "is too large"
            else:
                what = "is no number"
            return NumberError(f"{shown}, row {row_number}, place {place}, {what}")
    raise AssertionError("a text that was refused holds a bad token")
