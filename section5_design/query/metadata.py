"""An instance's attributes as DICOM JSON, with addresses instead of bulk data (PS3.18, 10.4.1.1.2 and F)."""

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO

from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from query.errors import InvalidRequestError, NotFoundError

MAX_INLINE = 1024  # bytes of a binary value; a longer one is bulk data
PIXEL_DATA = "7FE00010"


def read_header(file: BinaryIO) -> Dataset:
    """Read a file up to its pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(file, force=True, stop_before_pixels=True)


def build_metadata(file: BinaryIO, address: str, syntax: str, *, has_pixels: bool) -> dict[str, Any]:
    """Return the attributes of an instance.

    Args:
        file: the instance.
        address: its address; that of bulk data begins with it.
        syntax: its transfer syntax.
        has_pixels: whether it has pixels, which are always bulk data.

    """
    header = read_header(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = to_json(header, f"{address}/bulkdata")
    if "00080005" in document:
        document["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}  # of this document
    document["00083002"] = {"vr": "UI", "Value": [syntax]}
    if has_pixels:
        document[PIXEL_DATA] = {"vr": "OW", "BulkDataURI": f"{address}/bulkdata/{PIXEL_DATA}"}
    return dict(sorted(document.items()))


def to_json(dataset: Dataset, address: str) -> dict[str, Any]:
    """Return a data set as DICOM JSON; a value that contradicts its VR is given as text, or left out."""
    document: dict[str, Any] = {}
    for tag in dataset.keys():  # noqa: SIM118  # not the elements, which would be decoded here
        if tag.element == 0:  # group length
            continue
        name = f"{tag:08X}"
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                items = [to_json(item, f"{address}/{name}/{at}") for at, item in enumerate(element.value)]
                document[name] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
            else:
                document[name] = element.to_json_dict(partial(bulk_data_uri, f"{address}/{name}"), MAX_INLINE)
        except Exception:  # noqa: BLE001  # pydicom raises all kinds of errors on malformed values
            document[name] = malformed(dataset, tag)
    return document


def iter_bulk_addresses(document: dict[str, Any]) -> Iterator[str]:
    """Iterate over the addresses of bulk data in a document, also in its sequences."""
    for element in document.values():
        if "BulkDataURI" in element:
            yield element["BulkDataURI"]
        elif element["vr"] == "SQ":
            for item in element.get("Value", ()):
                yield from iter_bulk_addresses(item)


def bulk_data_uri(address: str, element: DataElement) -> str:  # noqa: ARG001
    """Return the address of a value; pydicom passes the element."""
    return address


def malformed(dataset: Dataset, tag: Any) -> dict[str, Any]:
    """Return an element whose value contradicts its VR: as text where the VR is a text (PS3.18, F.2.3.1)."""
    raw = dataset.get_item(tag)
    vr = str(getattr(raw, "VR", "") or "UN")
    if vr not in ("DS", "IS") or raw is None:
        return {"vr": vr}
    value = raw.value.decode("ascii", "replace") if isinstance(raw.value, bytes) else str(raw.value)
    return {"vr": vr, "Value": [part.strip("\0 ") for part in value.split("\\")]}


def find_bulk_data(dataset: Dataset, path: str) -> bytes:
    """Return the value that an address of bulk data names: a tag, or item numbers and tags alternately.

    Raises:
        InvalidRequestError: the path is malformed.
        NotFoundError: there is no such value.

    """
    steps = path.split("/")
    try:
        tags, items = [int(step, 16) for step in steps[::2]], [int(step) for step in steps[1::2]]
    except ValueError:
        raise InvalidRequestError("not a path of tags and item numbers") from None
    if any(len(step) != 8 for step in steps[::2]) or len(tags) != len(items) + 1:
        raise InvalidRequestError("not a path of tags and item numbers")
    try:
        for tag, item in zip(tags, items, strict=False):
            dataset = dataset[tag].value[item]
        element: DataElement = dataset[tags[-1]]
        if isinstance(element.value, bytes):
            return element.value
    except (KeyError, IndexError, TypeError, AttributeError):
        pass
    raise NotFoundError("there is no such bulk data")
