"""The record of a patient."""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Self

from pydicom.valuerep import PersonName

import value_representations as vr
from attributes import Attribute, State, StoredValue

log = logging.getLogger("section2")


@dataclass(frozen=True)
class DiagnosisChange:
    """A change of diagnosis: its time (with time zone), the old and the new diagnosis."""

    when: datetime
    old: str | None
    new: str | None


class PatientRecord:
    """A patient: name, age, birth date, sex, weight, patient ID and its type, and a diagnosis with its history.

    The constructor and every setter validate; an InvalidValueError names the attribute, the value and the rule, and
    the record is unchanged. Reading returns a typed value, or None without one; `state_of` distinguishes absent, empty
    and invalid, and `text_of` returns the text.

    Two records are equal when they have the same values. Records are mutable and therefore not hashable.
    """

    attributes: ClassVar[dict[str, Attribute[Any, Any]]] = {}

    name: Attribute[PersonName, PersonName | str] = Attribute("PatientName", vr.PERSON_NAME, "Name")
    patient_id: Attribute[str, str] = Attribute("PatientID", vr.LONG_STRING, "Patient ID")
    patient_id_type: Attribute[str, str] = Attribute(
        "TypeOfPatientID", vr.code_string("TEXT", "RFID", "BARCODE"), "Type of patient ID"
    )
    birth_date: Attribute[date, date | str] = Attribute("PatientBirthDate", vr.DATE, "Birth date")
    sex: Attribute[str, str] = Attribute("PatientSex", vr.code_string("M", "F", "O"), "Sex")
    age: Attribute[vr.Age, vr.Age | int | str] = Attribute("PatientAge", vr.AGE, "Age")
    weight: Attribute[Decimal, Decimal | float | str] = Attribute("PatientWeight", vr.WEIGHT, "Weight", "kg")

    def __init__(
        self,
        name: PersonName | str | None = None,
        age: vr.Age | int | str | None = None,
        birth_date: date | str | None = None,
        sex: str | None = None,
        weight: Decimal | float | str | None = None,
        patient_id: str | None = None,
        patient_id_type: str | None = None,
        *,
        diagnosis: str | None = None,
    ) -> None:
        self.stored: dict[str, StoredValue] = {}
        self.name, self.age, self.birth_date, self.sex, self.weight = name, age, birth_date, sex, weight
        self.patient_id, self.patient_id_type = patient_id, patient_id_type
        self.diagnosis = _require_text(diagnosis)
        self.history: list[DiagnosisChange] = []

    # Setters and getters

    def get_name(self) -> PersonName | None:
        """Return the name as pydicom's PersonName, with its components: `family_name`, `given_name` and more."""
        return self.name

    def set_name(self, value: PersonName | str | None) -> None:
        """Set the name: a PersonName, or text like `Doe^John` (PN)."""
        self.name = value

    def get_age(self) -> vr.Age | None:
        """Return the age, with its unit."""
        return self.age

    def set_age(self, value: vr.Age | int | str | None) -> None:
        """Set the age: an Age, years as an integer, or text like `018M` (AS)."""
        self.age = value

    def get_birth_date(self) -> date | None:
        """Return the birth date."""
        return self.birth_date

    def set_birth_date(self, value: date | str | None) -> None:
        """Set the birth date: a date, or text like `19810302` (DA)."""
        self.birth_date = value

    def get_sex(self) -> str | None:
        """Return the sex: M, F or O (other)."""
        return self.sex

    def set_sex(self, value: str | None) -> None:
        """Set the sex: M, F or O (CS)."""
        self.sex = value

    def get_weight(self) -> Decimal | None:
        """Return the weight in kilograms."""
        return self.weight

    def set_weight(self, value: Decimal | float | str | None) -> None:
        """Set the weight in kilograms: a number, or text like `70.5` (DS)."""
        self.weight = value

    def get_patient_id(self) -> str | None:
        """Return the patient ID."""
        return self.patient_id

    def set_patient_id(self, value: str | None) -> None:
        """Set the patient ID: text (LO)."""
        self.patient_id = value

    def get_patient_id_type(self) -> str | None:
        """Return the type of patient ID: TEXT, RFID or BARCODE."""
        return self.patient_id_type

    def set_patient_id_type(self, value: str | None) -> None:
        """Set the type of patient ID: TEXT, RFID or BARCODE (CS)."""
        self.patient_id_type = value

    # The diagnosis

    def update_diagnosis(self, new_diagnosis: str | None, *, log_patient_id: bool = False) -> None:
        """Change the diagnosis, append the change to `history`, and log it.

        The log identifies the patient by a hash of the patient ID, or by the ID itself with `log_patient_id`.

        Raises:
            TypeError: The new diagnosis is neither a string nor None.
        """
        if _require_text(new_diagnosis) == self.diagnosis:
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
        """Return 12 hexadecimal digits of the SHA-256 of the patient ID, or `unknown` without an ID."""
        text = self.text_of("patient_id")
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12] if text else "unknown"

    # States, inconsistencies, comparison

    def state_of(self, name: str) -> State:
        """Return whether an attribute is absent, empty, present or invalid."""
        return self.stored[name].state

    def text_of(self, name: str) -> str:
        """Return the text of an attribute in DICOM's form, or as in the file if it is invalid."""
        return self.stored[name].text

    def invalid_attributes(self) -> list[str]:
        """Return the names of the attributes whose text breaks their rule."""
        return [name for name in self.attributes if self.state_of(name) is State.INVALID]

    def inconsistencies(self, today: date | None = None) -> list[str]:
        """Return what cannot be true together, without patient data. `today` is for tests."""
        today = today or date.today()
        return ["the birth date is in the future"] if self.birth_date and self.birth_date > today else []

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __repr__(self) -> str:
        return f"<{type(self).__name__} patient {self.patient_hash()}>"

    def __str__(self) -> str:
        lines = list(self._lines())
        width = max(len(label) for label, _ in lines)
        return "\n".join(f"{label:<{width}}  {value}".rstrip() for label, value in lines)

    def _lines(self) -> Iterator[tuple[str, str]]:
        """Yield the label and the value of each line to print."""
        yield "Patient", ""
        for attribute in PatientRecord.attributes.values():
            yield f"  {attribute.label}", self._format(attribute)
        yield "  Diagnosis", _printable(self.diagnosis) if self.diagnosis is not None else "<absent>"

    def _format(self, attribute: Attribute[Any, Any]) -> str:
        stored = self.stored[attribute.name]
        if stored.state is State.INVALID:
            return f"{_printable(stored.text)}  <not {attribute.representation.rule}>"
        if stored.state is not State.PRESENT:
            return f"<{stored.state.value}>"
        value = vr.display_time(stored.text) if attribute.representation is vr.TIME_OF_DAY else stored.value
        return _printable(f"{value} {attribute.unit}".rstrip())

    # JSON

    def to_json(self) -> str:
        """Return the complete record as JSON; `from_json` reads it back without loss."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_dict(self) -> dict[str, object]:
        """Return the complete record as a dictionary of JSON values."""
        return {
            "type": type(self).__name__,
            "attributes": {
                name: self.text_of(name) for name in self.attributes if self.state_of(name) is not State.ABSENT
            },
            "diagnosis": self.diagnosis,
            "history": [[change.when.isoformat(), change.old, change.new] for change in self.history],
        }

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a record that `to_json` wrote.

        Raises:
            ValueError: The text is something else.
        """
        try:
            content = json.loads(text)
            if content["type"] != cls.__name__:
                raise ValueError(f"holds a {content['type']}, not a {cls.__name__}")
            return cls._from_dict(content)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"is not the JSON of a {cls.__name__}") from error

    @classmethod
    def _from_dict(cls, content: dict[str, Any]) -> Self:
        record = cls(diagnosis=content["diagnosis"])
        for name, value in content["attributes"].items():
            record.stored[name] = cls.attributes[name].parse_lenient(value)
        record.history = [
            DiagnosisChange(datetime.fromisoformat(when), old, new) for when, old, new in content["history"]
        ]
        return record


def log_omissions(record: PatientRecord) -> None:
    """Log the invalid attributes, which an export leaves out."""
    for name in record.invalid_attributes():
        log.warning("%s is left out of the export: it is not %s", name, record.attributes[name].representation.rule)


def _require_text(diagnosis: str | None) -> str | None:
    if not isinstance(diagnosis, str | None):
        raise TypeError("a diagnosis is a string or None")
    return diagnosis


def _printable(text: str) -> str:
    """Escape everything that a terminal would not print on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _quoted(diagnosis: str | None) -> str:
    return "none" if diagnosis is None else f'"{_printable(diagnosis)}"'
