"""DICOM's value representations (PS3.5 section 6.2): text to typed value and back.

Every parser accepts text or a typed value and raises ValueError with the rule that the value breaks. Surrounding
padding is ignored. A query range (`20200101-20201231`) is not a value.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any, Generic, TypeVar

from pydicom import config
from pydicom.valuerep import PersonName, format_number_as_ds

T = TypeVar("T")

ONE_LINE = r"[^\\\x00-\x1a\x1c-\x1f\x7f]*"  # ESC (1b) may remain in text that was already decoded


@dataclass(frozen=True)
class ValueRepresentation(Generic[T]):
    """A value representation: its two letters, its rule in words, and the conversions.

    `convert` receives text that matches `pattern`, and raises ValueError for what a pattern cannot say. Typed values of
    `types` are formatted first. `normalize` rewrites a text of ACR-NEMA, DICOM's predecessor; only loading uses it.
    """

    vr: str
    rule: str
    pattern: str
    convert: Callable[[str], T]
    types: tuple[type, ...] = ()
    format: Callable[[Any], str] = str
    normalize: Callable[[str], str] = str

    def parse(self, value: object) -> T:
        """Return the typed value.

        Raises:
            ValueError: The value breaks the rule; the message is the rule, without the value.
        """
        if isinstance(value, self.types) and not isinstance(value, bool):
            value = self.format(value)
        if isinstance(value, str) and re.fullmatch(self.pattern, text := value.strip(" \0")):
            with suppress(ValueError, ArithmeticError):  # an exponent beyond what decimals hold
                return self.convert(text)
        raise ValueError(self.rule)


def _convert_name(text: str) -> PersonName:
    """Convert PN. Empty components at the end of a group make no difference: `Doe^John^^^` becomes `Doe^John`."""
    groups = [group.split("^") for group in text.split("=")]
    if len(groups) > 3 or any(len(group) > 5 or len("^".join(group)) > 64 for group in groups):
        raise ValueError
    trimmed = ("^".join(component.strip(" ") for component in group).rstrip("^") for group in groups)
    return PersonName("=".join(trimmed), validation_mode=config.IGNORE)


@dataclass(frozen=True)
class Age:
    """A number of days, weeks, months or years; the unit is D, W, M or Y."""

    number: int
    unit: str

    def __str__(self) -> str:
        return f"{self.number:03}{self.unit}"


def display_time(text: str) -> str:
    """Return a TM with colons, as precise as it was written: `0930` becomes `09:30`."""
    digits, point, fraction = text.partition(".")
    return ":".join(re.findall("..", digits)) + point + fraction


def code_string(*terms: str) -> ValueRepresentation[str]:
    """Return a CS; with terms, one of these."""
    rule = (
        f"one of {', '.join(terms)}" if terms else "a code of up to 16 capital letters, digits, spaces and underscores"
    )
    return ValueRepresentation("CS", rule, "|".join(terms) or "[A-Z0-9 _]{1,16}", str)


def _require_range(number: Any, minimum: int, limit: float = float("inf")) -> Any:
    if not minimum <= number < limit:
        raise ValueError
    return number


def integer_string(minimum: int) -> ValueRepresentation[int]:
    """Return an IS: an integer of 32 bits, of at least `minimum`."""
    return ValueRepresentation(
        "IS",
        f"an integer of up to 12 characters, from {minimum} to {2**31 - 1}",
        r"(?=.{1,12}\Z)[+-]?[0-9]+",
        lambda text: _require_range(int(text), minimum, 2**31),
        (int,),
    )


PERSON_NAME = ValueRepresentation(
    "PN",
    "a name of up to three groups separated by =, each of up to 64 characters and five components separated by ^",
    ONE_LINE,
    _convert_name,
    (PersonName,),
)
LONG_STRING = ValueRepresentation(
    "LO", "a text of up to 64 characters, without backslash and control characters", rf"(?=.{{0,64}}\Z){ONE_LINE}", str
)
UID = ValueRepresentation(
    "UI",
    "a UID of up to 64 characters: numbers without leading zeros, separated by dots",
    r"(?=.{1,64}\Z)(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*",
    str,
)
AGE = ValueRepresentation(
    "AS",
    "an age of three digits and D, W, M or Y (days, weeks, months, years), like 018M",
    "[0-9]{3}[DWMY]",
    lambda text: Age(int(text[:3]), text[3]),
    (Age, int),
    lambda age: f"{age:03}Y" if isinstance(age, int) else str(age),
)
WEIGHT = ValueRepresentation(
    "DS",
    "a decimal number of up to 16 characters, at least 0",
    r"(?=.{1,16}\Z)[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?",
    lambda text: _require_range(Decimal(text), 0),  # every digit is preserved
    (int, float, Decimal),
    lambda value: format_number_as_ds(value) if isinstance(value, float) else str(value),
)
DATE = ValueRepresentation(
    "DA",
    "a calendar date as YYYYMMDD",
    "[0-9]{8}",
    date.fromisoformat,
    (date,),
    lambda value: str(value).replace("-", ""),
    # ACR-NEMA wrote 1993.04.30 and 09:30:00 (PS3.5 section 6.2, notes to DA and TM)
    lambda text: text.replace(".", "") if re.fullmatch(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}", text) else text,
)
TIME_OF_DAY = ValueRepresentation(
    "TM",
    "a time as HH, HHMM, HHMMSS or HHMMSS.F to HHMMSS.FFFFFF, up to 235959.999999",
    r"(?!24)[0-9]{2}(?:[0-9]{2}(?:[0-9]{2}(?:\.[0-9]{1,6})?)?)?",  # Python 3.14 reads 24:00 as midnight
    time.fromisoformat,  # which rejects the second 60 of a leap second
    (time,),
    lambda value: f"{value:%H%M%S%z}" + (f".{value.microsecond:06}" if value.microsecond else ""),
    lambda text: text.replace(":", "") if re.fullmatch(r"[0-9]{2}(:[0-9]{2}){1,2}(\.[0-9]{1,6})?", text) else text,
)
