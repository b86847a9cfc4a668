"""DICOM's value representations (PS3.5 section 6.2): text to typed value and back.

Every parser accepts text or a typed value and raises RuleError with the rule that the value breaks. Surrounding
padding is ignored. A query range (`20200101-20201231`) is not a value.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal, InvalidOperation
from typing import Generic, TypeVar

T = TypeVar("T")

CONTROL = re.compile(r"[\x00-\x1a\x1c-\x1f\x7f]")  # ESC (1b) may remain in text that was already decoded


class RuleError(ValueError):
    """A value that its representation forbids; the message is the rule, without the value."""


@dataclass(frozen=True)
class ValueRepresentation(Generic[T]):
    """A value representation: its two letters, its rule in words, a parser and a formatter.

    `normalize` rewrites a text of ACR-NEMA, DICOM's predecessor, in DICOM's form; only loading uses it.
    """

    vr: str
    rule: str
    parse: Callable[[object], T]
    format: Callable[[T], str] = str
    normalize: Callable[[str], str] = str


def _text(value: object, rule: str) -> str:
    if not isinstance(value, str):
        raise RuleError(rule)
    return value.strip(" \0")


# Names -------------------------------------------------------------------------------------------------------------

NAME_RULE = "up to three groups separated by =, each of up to five components separated by ^ and of up to 64 characters"
COMPONENTS = ("family", "given", "middle", "prefix", "suffix")


@dataclass(frozen=True)
class NameGroup:
    """A name in one way of writing (PS3.5 6.2.1): family name, given name, middle name, prefix, suffix."""

    family: str = ""
    given: str = ""
    middle: str = ""
    prefix: str = ""
    suffix: str = ""

    def __str__(self) -> str:
        return "^".join(getattr(self, component) for component in COMPONENTS).rstrip("^")

    def __bool__(self) -> bool:
        return bool(str(self))


@dataclass(frozen=True)
class PersonName:
    """A person's name: alphabetic, ideographic, phonetic. Equal when all components are: `Doe^John`, `Doe^John^^^`."""

    alphabetic: NameGroup = NameGroup()
    ideographic: NameGroup = NameGroup()
    phonetic: NameGroup = NameGroup()

    def __str__(self) -> str:
        return "=".join(map(str, (self.alphabetic, self.ideographic, self.phonetic))).rstrip("=")


def parse_name(value: object) -> PersonName:
    """Parse PN."""
    text = str(value) if isinstance(value, PersonName) else _text(value, NAME_RULE)
    groups = text.split("=")
    if len(groups) > 3 or "\\" in text or CONTROL.search(text):
        raise RuleError(NAME_RULE)
    parsed = []
    for group in groups:
        components = [component.strip(" ") for component in group.split("^")]
        if len(components) > 5 or len(group) > 64:
            raise RuleError(NAME_RULE)
        parsed.append(NameGroup(*components))
    return PersonName(*parsed)


# Text ---------------------------------------------------------------------------------------------------------------


def long_string(rule: str = "up to 64 characters, no backslash and no control characters") -> ValueRepresentation[str]:
    """Return an LO, one line of text."""

    def parse(value: object) -> str:
        text = _text(value, rule)
        if len(text) > 64 or "\\" in text or CONTROL.search(text):
            raise RuleError(rule)
        return text

    return ValueRepresentation("LO", rule, parse)


def code_string(*terms: str) -> ValueRepresentation[str]:
    """Return a CS; with terms, one of these."""
    rule = f"one of {', '.join(terms)}" if terms else "up to 16 capital letters, digits, spaces and underscores"

    def parse(value: object) -> str:
        text = _text(value, rule)
        if not re.fullmatch(r"[A-Z0-9 _]{1,16}", text) or (terms and text not in terms):
            raise RuleError(rule)
        return text

    return ValueRepresentation("CS", rule, parse)


UID_RULE = "up to 64 digits and dots: numbers without leading zeros, separated by dots"


def parse_uid(value: object) -> str:
    """Parse UI (PS3.5 section 9.1)."""
    text = _text(value, UID_RULE)
    if len(text) > 64 or not re.fullmatch(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*", text):
        raise RuleError(UID_RULE)
    return text


# Age, date and time -------------------------------------------------------------------------------------------------

AGE_RULE = "three digits and D, W, M or Y (days, weeks, months, years), like 018M"


@dataclass(frozen=True)
class Age:
    """A number of days, weeks, months or years; the unit is D, W, M or Y."""

    number: int
    unit: str

    def __str__(self) -> str:
        return f"{self.number:03}{self.unit}"


def parse_age(value: object) -> Age:
    """Parse AS; an integer is an age in years."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 999:
        return Age(value, "Y")
    text = str(value) if isinstance(value, Age) else _text(value, AGE_RULE)
    if not re.fullmatch(r"[0-9]{3}[DWMY]", text):
        raise RuleError(AGE_RULE)
    return Age(int(text[:3]), text[3])


DATE_RULE = "a calendar date as YYYYMMDD"


def parse_date(value: object) -> date:
    """Parse DA."""
    if type(value) is date:
        return value
    text = _text(value, DATE_RULE)
    if not re.fullmatch(r"[0-9]{8}", text):
        raise RuleError(DATE_RULE)
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError as error:
        raise RuleError(DATE_RULE) from error


def format_date(value: date) -> str:
    """Format a date as DA."""
    return f"{value.year:04}{value.month:02}{value.day:02}"


def normalize_date(text: str) -> str:
    """Remove the dots of an ACR-NEMA date (`1993.04.30`; PS3.5 section 6.2, note to DA)."""
    return text.replace(".", "") if re.fullmatch(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}", text) else text


TIME_RULE = "HH, HHMM, HHMMSS or HHMMSS.F to HHMMSS.FFFFFF, hours to 23, minutes and seconds to 59"
TIME = re.compile(r"([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?")


def parse_time(value: object) -> time:
    """Parse TM. The second 60 of a leap second, which PS3.5 allows, has no time of day and is rejected."""
    if isinstance(value, time) and value.tzinfo is None:
        return value
    match = TIME.fullmatch(_text(value, TIME_RULE))
    if match is None:
        raise RuleError(TIME_RULE)
    hours, minutes, seconds, fraction = match.groups()
    try:
        return time(int(hours), int(minutes or 0), int(seconds or 0), int((fraction or "").ljust(6, "0")))
    except ValueError as error:
        raise RuleError(TIME_RULE) from error


def format_time(value: time) -> str:
    """Format a time of day as TM."""
    return f"{value:%H%M%S}" + (f".{value.microsecond:06}" if value.microsecond else "")


def normalize_time(text: str) -> str:
    """Remove the colons of an ACR-NEMA time (`09:30:00`; PS3.5 section 6.2, note to TM)."""
    return text.replace(":", "") if re.fullmatch(r"[0-9]{2}(:[0-9]{2}){1,2}(\.[0-9]{1,6})?", text) else text


def display_time(text: str) -> str:
    """Return a TM with colons, as precise as it was written: `0930` becomes `09:30`."""
    digits, point, fraction = text.partition(".")
    return ":".join(re.findall("..", digits)) + point + fraction


# Numbers ------------------------------------------------------------------------------------------------------------

DECIMAL_RULE = "a decimal number of up to 16 characters"
INTEGER_LIMIT = 2**31


def decimal_string(what: str, *, minimum: int) -> ValueRepresentation[Decimal]:
    """Return a DS of at least `minimum`; every digit is preserved."""
    rule = f"{DECIMAL_RULE}, {what}"

    def parse(value: object) -> Decimal:
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            value = str(value)
        text = _text(value, rule)
        if len(text) > 16 or not re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", text):
            raise RuleError(rule)
        try:
            number = Decimal(text)
        except InvalidOperation as error:  # an exponent beyond what decimals hold
            raise RuleError(rule) from error
        if number < minimum:
            raise RuleError(rule)
        return number

    return ValueRepresentation("DS", rule, parse)


def integer_string(what: str, *, minimum: int) -> ValueRepresentation[int]:
    """IS: an integer of 32 bits."""
    rule = f"an integer of up to 12 characters, {what}"

    def parse(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        text = _text(value, rule)
        if len(text) > 12 or not re.fullmatch(r"[+-]?[0-9]+", text):
            raise RuleError(rule)
        number = int(text)
        if not minimum <= number < INTEGER_LIMIT:
            raise RuleError(rule)
        return number

    return ValueRepresentation("IS", rule, parse)


PERSON_NAME = ValueRepresentation("PN", NAME_RULE, parse_name)
AGE = ValueRepresentation("AS", AGE_RULE, parse_age)
DATE = ValueRepresentation("DA", DATE_RULE, parse_date, format_date, normalize_date)
TIME_OF_DAY = ValueRepresentation("TM", TIME_RULE, parse_time, format_time, normalize_time)
UID = ValueRepresentation("UI", UID_RULE, parse_uid)
