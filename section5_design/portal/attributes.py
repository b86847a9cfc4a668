"""Read the attributes of a file as a tree, and a structured report as a table."""

import warnings
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

MAX_VALUE = 200  # characters of a value that are shown
MAX_ELEMENTS = 5000
BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}


@dataclass
class Element:
    """An element of the tree; a sequence has items, each a list of elements."""

    tag: str
    name: str
    vr: str
    value: str
    items: list[list["Element"]] = field(default_factory=list)


@dataclass
class ContentItem:
    """A content item of a structured report (PS3.3, C.17.3), flattened."""

    level: int
    name: str
    value: str

    @property
    def indent(self) -> range:
        """Return a range as long as the level, for the template."""
        return range(self.level)


def read_header(file: BinaryIO) -> Dataset:
    """Read everything but the pixels and long values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(file, force=True, stop_before_pixels=True, defer_size=1 << 16)


def read_tree(file: BinaryIO, wanted: str = "") -> list[Element]:
    """Read the attributes of a file, only those whose tag, name or value contains a text, with their parents."""
    header = read_header(file)
    left = [MAX_ELEMENTS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = _read_elements(header.file_meta, left) + _read_elements(header, left)
    return _search(tree, wanted.casefold()) if wanted else tree


def _read_elements(dataset: Dataset, left: list[int]) -> list[Element]:
    elements = []
    for tag in sorted(dataset.keys()):
        left[0] -= 1
        if left[0] < 0:
            break
        raw: Any = dataset.get_item(tag)
        shown = f"{tag.group:04X},{tag.element:04X}"
        name = pydicom.datadict.keyword_for_tag(tag) or ""
        length = getattr(raw, "length", 0)
        if raw.value is None and length:  # deferred: it is long
            elements.append(Element(shown, name, str(raw.VR or ""), f"({length:,} B)"))
            continue
        try:
            element = dataset[tag]
        except Exception:  # noqa: BLE001  # pydicom raises all kinds of errors on malformed values
            elements.append(Element(shown, name, str(raw.VR or ""), "?"))
            continue
        entry = Element(shown, name or element.name, element.VR, _format(element))
        if element.VR == "SQ":
            entry.items = [_read_elements(item, left) for item in element.value]
        elements.append(entry)
    return elements


def _format(element: DataElement) -> str:
    if element.VR == "SQ":
        return ""
    if element.VR in BINARY and isinstance(element.value, bytes):
        return f"({len(element.value):,} B)"
    values = element.value if element.VM > 1 else [element.value]
    text = "\\".join("" if value is None else str(value) for value in values)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _search(elements: list[Element], wanted: str) -> list[Element]:
    found = []
    for element in elements:
        if wanted in f"({element.tag}) {element.tag.replace(',', '')} {element.name} {element.value}".casefold():
            found.append(element)
        elif items := [kept for item in element.items if (kept := _search(item, wanted))]:
            found.append(Element(element.tag, element.name, element.vr, element.value, items))
    return found


def read_report(file: BinaryIO) -> list[ContentItem]:
    """Read the content of a structured report, in reading order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(_read_content(read_header(file), 0))[:MAX_ELEMENTS]


def _read_content(item: Dataset, level: int) -> list[ContentItem]:
    name = _meaning(item, "ConceptNameCodeSequence")
    rows = [ContentItem(level, name, _content_value(item))] if name or level else []
    for child in item.get("ContentSequence") or []:
        rows += _read_content(child, level + 1)
    return rows


def _meaning(item: Dataset, keyword: str) -> str:
    codes = item.get(keyword) or []
    return str(codes[0].get("CodeMeaning") or codes[0].get("CodeValue") or "") if codes else ""


def _content_value(item: Dataset) -> str:
    kind = item.get("ValueType", "")
    if kind == "NUM" and (measured := item.get("MeasuredValueSequence")):
        return f"{measured[0].get('NumericValue', '')} {_meaning(measured[0], 'MeasurementUnitsCodeSequence')}"
    if kind == "CODE":
        return _meaning(item, "ConceptCodeSequence")
    if kind in ("IMAGE", "COMPOSITE") and (referenced := item.get("ReferencedSOPSequence")):
        return str(referenced[0].get("ReferencedSOPInstanceUID", ""))
    for keyword in ("TextValue", "PersonName", "DateTime", "Date", "Time", "UID"):
        if keyword in item:
            return str(item.get(keyword))
    return ""
