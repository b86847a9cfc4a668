"""A record in the DICOM JSON Model (PS3.18 annex F)."""

from typing import Any

from pydicom.valuerep import PersonName

from attributes import State
from patient_record import PatientRecord, log_omissions


def to_dicom_json(record: PatientRecord) -> dict[str, dict[str, Any]]:
    """Return one data set, keyed by tags of eight hexadecimal digits; invalid values are left out and logged."""
    model: dict[str, dict[str, Any]] = {}
    log_omissions(record)
    for attribute in sorted(record.attributes.values(), key=lambda attribute: attribute.tag):
        stored = record.stored[attribute.name]
        if stored.state in (State.PRESENT, State.EMPTY):
            value = [] if stored.state is State.EMPTY else [_to_json_value(stored.value, stored.text)]
            model[f"{attribute.tag:08X}"] = {"vr": attribute.representation.vr} | ({"Value": value} if value else {})
    return model


def _to_json_value(value: object, text: str) -> object:
    """Return names by group, integers as numbers, and all else as text, which preserves decimal digits (F.2.3)."""
    if isinstance(value, PersonName):
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), value.components, strict=False)
        return {key: group for key, group in groups if group}
    return value if isinstance(value, int) else text
