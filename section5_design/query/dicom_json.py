"""Rows as DICOM JSON (PS3.18, F)."""

from collections.abc import Iterable
from typing import Any

from pydicom.datadict import tag_for_keyword

from query.attributes import vr_of
from query.selectors import Row

JSON = "application/dicom+json"


def to_json(row: Row) -> dict[str, Any]:
    """Return the attributes of a row by tag, ascending."""
    elements = {f"{tag_for_keyword(keyword):08X}": element(vr_of(keyword), value) for keyword, value in row.items()}
    return dict(sorted(elements.items()))


def element(vr: str, value: Any) -> dict[str, Any]:
    """Return an element; an empty one has no values (PS3.18, F.2.5)."""
    values = [one for one in (value if isinstance(value, list) else [value]) if one not in ("", None)]
    if vr == "PN":
        values = [person_name(one) for one in values]
    if vr == "SQ":
        values = [to_json(one) for one in values]
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def person_name(text: str) -> dict[str, str]:
    """Return a name by its component groups (PS3.18, F.2.2)."""
    groups: Iterable[tuple[str, str]] = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False)
    return {name: group for name, group in groups if group}
