"""A record in the DICOM JSON Model (PS3.18 annex F)."""

from typing import Any

from attributes import State
from patient_record import PatientRecord, log
from value_representations import PersonName

GROUPS = {"Alphabetic": "alphabetic", "Ideographic": "ideographic", "Phonetic": "phonetic"}


def to_dicom_json(record: PatientRecord) -> dict[str, dict[str, Any]]:
    """One data set, by tags of eight hexadecimal digits. What breaks its rule is left out, and that is logged."""
    model: dict[str, dict[str, Any]] = {}
    for name, attribute in sorted(record.attributes.items(), key=lambda item: item[1].tag):
        field = attribute.field(record)
        if field.state is State.UNREADABLE:
            log.warning("%s is left out of the export: it is not %s", name, attribute.representation.rule)
        elif field.state is not State.ABSENT:
            value = [] if field.state is State.EMPTY else [_value(field.value, field.text)]
            model[f"{attribute.tag:08X}"] = {"vr": attribute.representation.vr} | ({"Value": value} if value else {})
    return model


def _value(value: object, text: str) -> object:
    """F.2.3: names by group, integers as numbers, the rest as text (decimals too, which keeps their digits)."""
    if isinstance(value, PersonName):
        return {key: str(group) for key, part in GROUPS.items() if (group := getattr(value, part))}
    return value if isinstance(value, int) else text
