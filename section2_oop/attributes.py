"""Attributes of a record: a descriptor that knows its data element, its value representation and its label."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar, overload

from pydicom.datadict import tag_for_keyword

from value_representations import ValueRepresentation

T = TypeVar("T")  # the type that reading gives
S = TypeVar("S")  # the types that assigning accepts


class State(Enum):
    """Whether a record has a value for an attribute."""

    ABSENT = "absent"
    EMPTY = "empty"
    PRESENT = "present"
    INVALID = "invalid"


class InvalidValueError(ValueError):
    """A value that the rule of its attribute forbids; the record is unchanged."""


@dataclass(frozen=True)
class StoredValue:
    """The state of an attribute, its typed value (the text if it is invalid), and its text in DICOM's form.

    Two are equal when state and value are: `70` and `70.0` are the same weight.
    """

    state: State
    value: Any = None
    text: str = field(default="", compare=False)


ABSENT = StoredValue(State.ABSENT)


class Attribute(Generic[T, S]):
    """A descriptor for an attribute. Assigning validates; reading returns the typed value, or None without one.

    Assigning None makes the attribute absent, an empty string makes it empty. Its class lists it in `attributes`.
    """

    def __init__(self, keyword: str, representation: ValueRepresentation[T], label: str, unit: str = "") -> None:
        self.tag = tag_for_keyword(keyword) or 0
        self.keyword, self.representation, self.label, self.unit = keyword, representation, label, unit
        self.name = ""

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name
        owner.attributes = owner.attributes | {name: self}

    @overload
    def __get__(self, record: None, owner: type) -> "Attribute[T, S]": ...
    @overload
    def __get__(self, record: object, owner: type) -> T | None: ...
    def __get__(self, record: Any, owner: type) -> "Attribute[T, S] | T | None":
        if record is None:
            return self
        stored: StoredValue = record.stored[self.name]
        return stored.value if stored.state is State.PRESENT else None

    def __set__(self, record: Any, value: S | None) -> None:
        record.stored[self.name] = self.validate(value)

    def validate(self, value: object) -> StoredValue:
        """Validate a value.

        Raises:
            InvalidValueError: The rule forbids the value.
        """
        if value is None:
            return ABSENT
        if isinstance(value, str) and not value.strip(" \0"):
            return StoredValue(State.EMPTY)
        try:
            parsed = self.representation.parse(value)
        except ValueError:
            raise InvalidValueError(f"{self.name}: {value!r} is not {self.representation.rule}") from None
        text = value.strip(" \0") if isinstance(value, str) else self.representation.format(parsed)
        if not text.strip("^="):  # a person name without any component
            return StoredValue(State.EMPTY)
        return StoredValue(State.PRESENT, parsed, text)

    def parse_lenient(self, text: str) -> StoredValue:
        """Parse a text from a file; an invalid one is preserved.

        Dates and times in the form of ACR-NEMA (`1993.04.30`, `09:30:00`) are accepted.
        """
        try:
            return self.validate(self.representation.normalize(text.strip(" \0")))
        except InvalidValueError:
            return StoredValue(State.INVALID, text, text)
