"""Convert DICOM JSON (PS3.18, F) to DICOM XML: the Native DICOM Model (PS3.19, A.1)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

XML = "application/dicom+xml"
NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
NAME_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2

Document = Mapping[str, Any]


def to_xml(document: Document) -> bytes:
    """Return a data set in DICOM JSON as an XML document."""
    body = "".join(iter_attributes(document))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">{body}</NativeDicomModel>\n'
    ).encode()


def iter_attributes(document: Document) -> Iterator[str]:
    """Generate the elements of a data set."""
    for tag, element in document.items():
        number = int(tag, 16)
        keyword = keyword_for_tag(number)
        names = {"tag": tag, "vr": element["vr"]} | ({"keyword": keyword} if keyword else {})
        if creator := find_private_creator(document, number):
            names |= {"tag": f"{tag[:4]}00{tag[6:]}", "privateCreator": creator}
        attributes = "".join(f" {name}={quoteattr(clean(value))}" for name, value in names.items())
        yield f"<DicomAttribute{attributes}>{''.join(iter_values(element))}</DicomAttribute>"


def find_private_creator(document: Document, tag: int) -> str:
    """Return who defines a private element (PS3.5, 7.8.1); empty for others."""
    group, block = tag >> 16, tag >> 8 & 0xFF
    if group % 2 == 0 or not block:
        return ""
    values = document.get(f"{group:04X}00{block:02X}", {}).get("Value") or [""]
    return str(values[0])


def iter_values(element: Document) -> Iterator[str]:
    """Generate the values of an element; an empty one among them has no number."""
    if "BulkDataURI" in element:
        yield f"<BulkData uri={quoteattr(element['BulkDataURI'])}/>"
    if "InlineBinary" in element:
        yield f"<InlineBinary>{element['InlineBinary']}</InlineBinary>"
    for number, value in enumerate(element.get("Value", ()), 1):
        if element["vr"] == "SQ":
            yield f'<Item number="{number}">{"".join(iter_attributes(value))}</Item>'
        elif isinstance(value, Mapping):
            yield f'<PersonName number="{number}">{"".join(iter_groups(value))}</PersonName>'
        elif value is not None:
            yield f'<Value number="{number}">{text_of(value)}</Value>'


def iter_groups(name: Document) -> Iterator[str]:
    """Generate the component groups of a person's name."""
    for group, components in name.items():
        named = zip(NAME_COMPONENTS, str(components).split("^"), strict=False)
        parts = "".join(f"<{component}>{text_of(value)}</{component}>" for component, value in named if value)
        yield f"<{group}>{parts}</{group}>"


def text_of(value: object) -> str:
    """Return a value as the text of an element."""
    return escape(clean(str(value)), {"\r": "&#13;"})


def clean(text: str) -> str:
    """Replace the characters that XML cannot hold."""
    return NOT_IN_XML.sub("\ufffd", text)
