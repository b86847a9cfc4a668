"""The record of a patient."""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Self

from attributes import Attribute, Field, State
from value_representations import (
    AGE,
    DATE,
    PERSON_NAME,
    Age,
    PersonName,
    code_string,
    decimal_string,
    long_string,
)

log = logging.getLogger("section2")


@dataclass(frozen=True)
class DiagnosisChange:
    """A change of diagnosis: when (with time zone), and what it was before and after."""

    when: datetime
    old: str | None
    new: str | None


class PatientRecord:
    """A patient: name, age, birth date, sex, weight, patient ID and its type, and a diagnosis with its history.

    Every attribute is checked by its rule when it is set, in the constructor too; an InvalidValueError names attribute,
    value and rule, and nothing is changed. Reading gives a typed value, or None where there is none; `state_of` tells
    absent, empty and unreadable apart, and `text_of` shows what stands there.

    Two records are equal when they hold the same values. Records change, so they cannot be members of a set.
    """

    name = Attribute(0x00100010, "PatientName", PERSON_NAME, "Name")
    patient_id = Attribute(0x00100020, "PatientID", long_string(), "Patient ID")
    patient_id_type = Attribute(
        0x00100022, "TypeOfPatientID", code_string("TEXT", "RFID", "BARCODE"), "Type of patient ID"
    )
    birth_date = Attribute(0x00100030, "PatientBirthDate", DATE, "Birth date")
    sex = Attribute(0x00100040, "PatientSex", code_string("M", "F", "O"), "Sex")
    age = Attribute(0x00101010, "PatientAge", AGE, "Age")
    weight = Attribute(0x00101030, "PatientWeight", decimal_string("not negative", minimum=0), "Weight", "kg")

    attributes: ClassVar[dict[str, Attribute[Any]]] = {}
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __init_subclass__(cls) -> None:
        cls.attributes = cls.attributes | {n: a for n, a in vars(cls).items() if isinstance(a, Attribute)}

    def __init__(self, *, diagnosis: str | None = None, **values: object) -> None:
        self.fields: dict[str, Field] = {}
        self.diagnosis = diagnosis
        self.history: list[DiagnosisChange] = []
        unknown = values.keys() - self.attributes.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no attribute {', '.join(sorted(unknown))}")
        for name, value in values.items():
            setattr(self, name, value)

    # Getting and setting, in the words of methods

    def get_name(self) -> PersonName | None:
        """The name, with its components and representation groups."""
        return self.name

    def set_name(self, value: object) -> None:
        """Set the name: a PersonName, or text like `Doe^John` (PN)."""
        self.name = value

    def get_age(self) -> Age | None:
        """The age, with its unit."""
        return self.age

    def set_age(self, value: object) -> None:
        """Set the age: an Age, or text like `018M` (AS)."""
        self.age = value

    def get_birth_date(self) -> date | None:
        """The birth date."""
        return self.birth_date

    def set_birth_date(self, value: object) -> None:
        """Set the birth date: a date, or text like `19810302` (DA)."""
        self.birth_date = value

    def get_sex(self) -> str | None:
        """The sex: M, F or O (other)."""
        return self.sex

    def set_sex(self, value: object) -> None:
        """Set the sex: M, F or O (CS)."""
        self.sex = value

    def get_weight(self) -> Decimal | None:
        """The weight in kilograms."""
        return self.weight

    def set_weight(self, value: object) -> None:
        """Set the weight in kilograms: a number, or text like `70.5` (DS)."""
        self.weight = value

    def get_patient_id(self) -> str | None:
        """The patient ID."""
        return self.patient_id

    def set_patient_id(self, value: object) -> None:
        """Set the patient ID: text (LO)."""
        self.patient_id = value

    def get_patient_id_type(self) -> str | None:
        """The type of patient ID: TEXT, RFID or BARCODE."""
        return self.patient_id_type

    def set_patient_id_type(self, value: object) -> None:
        """Set the type of patient ID: TEXT, RFID or BARCODE (CS)."""
        self.patient_id_type = value

    # The diagnosis

    def update_diagnosis(self, new_diagnosis: str | None, *, log_patient_id: bool = False) -> None:
        """Change the diagnosis, note the change in `history`, and log it.

        The log names the patient by a hash of the patient ID, or by the ID itself where `log_patient_id` asks for it.

        Raises:
            TypeError: the new diagnosis is no text.

        """
        if not (new_diagnosis is None or isinstance(new_diagnosis, str)):
            raise TypeError("a diagnosis is text, or None where there is none")
        if new_diagnosis == self.diagnosis:
            return
        change = DiagnosisChange(datetime.now().astimezone(), self.diagnosis, new_diagnosis)
        self.diagnosis = new_diagnosis
        self.history.append(change)
        log.info(
            "%s: diagnosis of patient %s changed from %s to %s",
            change.when.isoformat(timespec="seconds"),
            self.patient_id if log_patient_id else self.patient_hash(),
            _quoted(change.old),
            _quoted(change.new),
        )

    def patient_hash(self) -> str:
        """The patient ID as 12 hexadecimal digits of its SHA-256; `unknown` without an ID."""
        text = self.text_of("patient_id")
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12] if text else "unknown"

    # What the record holds

    def state_of(self, name: str) -> State:
        """Whether an attribute is absent, empty, present or unreadable."""
        return self.attributes[name].field(self).state

    def text_of(self, name: str) -> str:
        """An attribute's text as DICOM writes it, or as it stands where it is unreadable; empty where there is none."""
        return self.attributes[name].field(self).text

    def contradictions(self, today: date | None = None) -> list[str]:
        """What cannot be true together, in words without any patient's data. `today` is for tests."""
        today = today or date.today()
        return ["the birth date lies in the future"] if self.birth_date and self.birth_date > today else []

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, PatientRecord):
            return NotImplemented
        return self._essence() == other._essence()

    def _essence(self) -> tuple[object, ...]:
        held = {
            name: (field.state, field.value if field.state is State.PRESENT else field.text)
            for name, field in self.fields.items()
        }
        return held, self.diagnosis, self.history

    def __repr__(self) -> str:
        return f"<{type(self).__name__} patient {self.patient_hash()}>"

    def __str__(self) -> str:
        lines = list(self._lines())
        width = max(len(label) for label, _ in lines)
        return "\n".join(f"{label:<{width}}  {value}".rstrip() for label, value in lines)

    def _lines(self) -> Iterator[tuple[str, str]]:
        """Label and value of everything there is to show."""
        yield "Patient", ""
        for attribute in PatientRecord.attributes.values():
            yield f"  {attribute.label}", self._shown(attribute)
        yield "  Diagnosis", _printable(self.diagnosis) if self.diagnosis is not None else "<absent>"

    def _shown(self, attribute: Attribute[Any]) -> str:
        field = attribute.field(self)
        if field.state is State.PRESENT:
            value = field.value
            return _printable(f"{value} {attribute.unit}".rstrip())
        if field.state is State.UNREADABLE:
            return f"{_printable(field.text)}  <not {attribute.representation.rule}>"
        return f"<{field.state.value}>"

    # JSON

    def to_json(self) -> str:
        """Everything the record holds, as JSON; `from_json` reads it back without a loss."""
        return json.dumps(self._facts(), ensure_ascii=False)

    def _facts(self) -> dict[str, object]:
        return {
            "type": type(self).__name__,
            "attributes": {name: field.text for name, field in self.fields.items()},
            "diagnosis": self.diagnosis,
            "history": [[change.when.isoformat(), change.old, change.new] for change in self.history],
        }

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is something else.

        """
        try:
            facts = json.loads(text)
            if facts["type"] != cls.__name__:
                raise ValueError(f"holds a {facts['type']}, not a {cls.__name__}")
            return cls._from_facts(facts)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"is not the JSON of a {cls.__name__}") from error

    @classmethod
    def _from_facts(cls, facts: dict[str, Any]) -> Self:
        record = cls(diagnosis=facts["diagnosis"])
        for name, value in facts["attributes"].items():
            attribute = cls.attributes[name]
            attribute.keep(record, attribute.as_it_stands(value, lambda _name, _rule: None))
        record.history = [
            DiagnosisChange(datetime.fromisoformat(when), old, new) for when, old, new in facts["history"]
        ]
        return record


PatientRecord.attributes = {n: a for n, a in vars(PatientRecord).items() if isinstance(a, Attribute)}


def _printable(text: str) -> str:
    """Text that is safe on a terminal and stays on its line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _quoted(diagnosis: str | None) -> str:
    return "none" if diagnosis is None else f'"{_printable(diagnosis)}"'
