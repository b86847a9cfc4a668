"""Attributes of a record: one place says for each its data element, its rule and what it is called."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar, overload

from value_representations import Representation, RuleError

T = TypeVar("T")


class State(Enum):
    """What a record knows of an attribute: four different things."""

    ABSENT = "absent"
    EMPTY = "empty"
    PRESENT = "present"
    UNREADABLE = "unreadable"


class InvalidValueError(ValueError):
    """A value that the rule of its attribute forbids. Nothing was changed."""

    def __init__(self, attribute: str, value: object, rule: str) -> None:
        super().__init__(f"{attribute}: {value!r} is not {rule}")
        self.attribute, self.value, self.rule = attribute, value, rule


@dataclass(frozen=True)
class Field:
    """What a record holds for one attribute: its state, its typed value where it has one, its text as it stands."""

    state: State
    value: Any = None
    text: str = ""


NOTHING = Field(State.ABSENT)


class Attribute(Generic[T]):
    """An attribute of a record. Assigning checks the rule; reading gives the typed value, or None where there is none.

    Assigning None makes it absent, an empty text makes it empty.
    """

    def __init__(self, tag: int, keyword: str, representation: Representation[T], label: str, unit: str = "") -> None:
        self.tag, self.keyword, self.representation = tag, keyword, representation
        self.label, self.unit = label, unit
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, record: None, owner: type) -> "Attribute[T]": ...
    @overload
    def __get__(self, record: object, owner: type) -> T | None: ...
    def __get__(self, record: object | None, owner: type) -> "Attribute[T] | T | None":
        return self if record is None else self.field(record).value

    def __set__(self, record: object, value: object) -> None:
        self.keep(record, self.checked(value))

    def field(self, record: object) -> Field:
        """What the record holds."""
        fields: dict[str, Field] = record.__dict__["fields"]
        return fields.get(self.name, NOTHING)

    def keep(self, record: object, field: Field) -> None:
        """Let the record hold this."""
        if field.state is State.ABSENT:
            record.__dict__["fields"].pop(self.name, None)
        else:
            record.__dict__["fields"][self.name] = field

    def checked(self, value: object) -> Field:
        """A value as a field.

        Raises:
            InvalidValueError: the rule forbids it.

        """
        if value is None:
            return NOTHING
        if isinstance(value, str) and not value.strip(" \0"):
            return Field(State.EMPTY)
        try:
            parsed = self.representation.parse(value)
        except RuleError as error:
            raise InvalidValueError(self.name, value, str(error)) from None
        text = self.representation.text(parsed)
        return Field(State.PRESENT, parsed, text) if text else Field(State.EMPTY)  # a name may be `^^^^`

    def as_it_stands(self, text: str, report: Callable[[str, str], None]) -> Field:
        """A text out of a file as a field; one that breaks the rule is kept, and the rule reported once."""
        try:
            field = self.checked(text)
        except InvalidValueError as error:
            report(self.name, error.rule)
            return Field(State.UNREADABLE, None, text)
        return Field(field.state, field.value, text.strip(" \0"))
