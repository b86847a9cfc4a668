"""Attributes of a record: a descriptor that knows its data element, its value representation and its label."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar, overload

from value_representations import RuleError, ValueRepresentation

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

    def __init__(self, attribute: str, value: object, rule: str) -> None:
        super().__init__(f"{attribute}: {value!r} is not {rule}")
        self.attribute, self.value, self.rule = attribute, value, rule


@dataclass(frozen=True)
class StoredValue:
    """The value of one attribute: its state, its typed value when present, and its text in DICOM's form."""

    state: State
    value: Any = None
    text: str = ""

    @property
    def comparison_key(self) -> tuple[State, object]:
        """The state and the value, or the text of an invalid one."""
        return self.state, self.value if self.state is State.PRESENT else self.text


ABSENT = StoredValue(State.ABSENT)


class Attribute(Generic[T, S]):
    """A descriptor for an attribute. Assigning validates; reading returns the typed value, or None without one.

    Assigning None makes the attribute absent, an empty string makes it empty. The class that defines an attribute
    lists it in `attributes`.
    """

    def __init__(
        self, tag: int, keyword: str, representation: ValueRepresentation[T], label: str, unit: str = ""
    ) -> None:
        self.tag, self.keyword, self.representation = tag, keyword, representation
        self.label, self.unit = label, unit
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
        value: T | None = record.stored.get(self.name, ABSENT).value
        return value

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
        except RuleError as error:
            raise InvalidValueError(self.name, value, str(error)) from None
        text = value.strip(" \0") if isinstance(value, str) else self.representation.format(parsed)
        if not text.strip("^="):  # a person name without any component
            return StoredValue(State.EMPTY)
        return StoredValue(State.PRESENT, parsed, text)

    def parse_lenient(self, text: str, report: Callable[[str, str], None]) -> StoredValue:
        """Parse a text from a file; an invalid one is preserved, and `report` is called with the name and the rule.

        Dates and times in the form of ACR-NEMA (`1993.04.30`, `09:30:00`) are accepted.
        """
        try:
            return self.validate(self.representation.normalize(text.strip(" \0")))
        except InvalidValueError as error:
            report(self.name, error.rule)
            return StoredValue(State.INVALID, None, text)
