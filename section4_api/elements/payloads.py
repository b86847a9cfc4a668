"""Bodies, strictly: bytes to JSON (RFC 8259), JSON to elements and changes, and what is wrong by JSON pointer."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
from django.http import HttpRequest

from elements.measurements import Measurements, NumberError, measure
from elements.problems import Fault, Problem, faulty

MAX_BODY = 64 << 20  # bytes
MAX_DEPTH = 32
MAX_ELEMENTS = 10_000
MAX_NUMBERS = 1_000_000  # of one element
MAX_NAME = 200

ID = r"(?!\.{1,2}$)[A-Za-z0-9._~-]{1,64}"
ID_RULE = "must be 1 to 64 of the characters A-Z a-z 0-9 . _ ~ - (what a URL carries as it is), and not . or .."
NAME_RULE = f"must be a text of 1 to {MAX_NAME} characters, not blank, without control characters"
CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
NOT_CONTROL = f"[^{CONTROL}]"
COMPUTED = ("average_before_normalization", "average_after_normalization", "data_size", "created_at", "updated_at")
NAMES = ("deviceName", "device_name")

_id = re.compile(rf"{ID}\Z")
_control = re.compile(f"[{CONTROL}]")


@dataclass(frozen=True, slots=True)
class NewElement:
    """An element that a client sends; `key` is its key in a map, None where it came alone."""

    key: str | None
    id: str
    device_name: str
    rows: list[str]
    measured: Measurements

    @property
    def at(self) -> str:
        """The pointer to the element in the body."""
        return pointer(self.key)


@dataclass(frozen=True, slots=True)
class Change:
    """What a client wants to be otherwise, and what it believes of the rest."""

    id: str | None
    device_name: str | None
    believed: dict[str, Any]


def pointer(*path: str | int | None) -> str:
    """A JSON pointer as URI fragment (RFC 6901, section 6); None stands for no step."""
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in path if step is not None]
    return "#" + "".join(f"/{quote(step, safe='!$&()*+,;=:@~')}" for step in steps)


def read_json(request: HttpRequest, *media_types: str) -> Any:
    """The body of a request, as JSON.

    Raises:
        Problem: 400 no JSON; 413 too long; 415 another media type, character set or encoding.

    """
    if request.content_type not in media_types:
        expected = " or ".join(media_types)
        raise Problem(415, f"the body must be {expected}, not {request.content_type!a}", headers={"Accept": expected})
    charset = request.content_params.get("charset", "utf-8") if request.content_params else "utf-8"
    if charset.lower().strip('"') not in ("utf-8", "utf8"):
        raise Problem(415, f"JSON is UTF-8 (RFC 8259, 8.1), not {charset!a}")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(415, "the body must come as it is, without Content-Encoding", headers={"Accept-Encoding": ""})
    return loads(read_body(request))


def read_body(request: HttpRequest) -> bytes:
    """The bytes of the body, also of a chunked one, which Django itself takes for empty."""
    declared = request.META.get("CONTENT_LENGTH") or ""
    source = request if declared or "wsgi.input" not in request.META else request.META["wsgi.input"]
    body = b"" if declared.isdecimal() and int(declared) > MAX_BODY else source.read(MAX_BODY + 1)
    if len(body) > MAX_BODY or (declared.isdecimal() and int(declared) > MAX_BODY):
        raise Problem(413, f"the body is longer than {MAX_BODY >> 20} MiB; send it in parts")
    request.body_start = body[:1000]  # for the log, where that wants bodies
    return body


def loads(body: bytes) -> Any:
    """JSON, without repeated keys and not too deep.

    Raises:
        Problem: 400, saying where and why.

    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is no JSON: {error.msg} (byte {error.pos + 1})") from None
    depth, texts = _extent(document)
    if depth > MAX_DEPTH:
        raise Problem(400, f"the body is nested deeper than {MAX_DEPTH} levels")
    # As many quotes as the parsed texts and keys need: then no key was dropped for being there twice.
    if (b"\\" in body or body.count(b'"') != 2 * texts) and (key := _repeated_key(body)) is not None:
        raise Problem(400, f"the key {key[:80]!a} is repeated in one object")
    return document


def _extent(document: Any) -> tuple[int, int]:
    """How deep a document is, and how many texts it holds, keys counted."""
    depth, texts, level = 0, 0, [document]
    while level:
        inner: list[Any] = []
        nested = False
        for value in level:
            if isinstance(value, str):
                texts += 1
            elif isinstance(value, dict):
                nested = True
                texts += len(value)
                inner += value.values()
            elif isinstance(value, list):
                nested = True
                inner += value
        depth += nested
        level = inner
    return depth, texts


def _repeated_key(body: bytes) -> str | None:
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        if len(pairs) != len({key for key, _ in pairs}):
            seen: set[str] = set()
            repeated.extend(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]

    json.loads(body, object_pairs_hook=note, parse_int=str, parse_float=str)
    return repeated[0] if repeated else None


def read_new(document: Any) -> dict[str | None, NewElement | list[Fault]]:
    """The elements of a body by key, in its order: each, or everything that is wrong with it. One alone has no key.

    Raises:
        Problem: 400 neither an element nor a map; 413 too many elements.

    """
    if not isinstance(document, dict) or not document:
        what = "an empty object" if document == {} else f"a JSON {_kind(document)}"
        raise Problem(
            400, f'the body must be an element, or a map {{"1": {{...}}, "2": {{...}}}} of them; it is {what}'
        )
    if not is_map(document):
        return {None: read_element(None, document)}
    if len(document) > MAX_ELEMENTS:
        raise Problem(413, f"the map holds {len(document):,} elements; send at most {MAX_ELEMENTS:,} at a time")
    read = {key: read_element(key, value) for key, value in document.items()}
    first: dict[str, NewElement] = {}
    for key, element in read.items():
        if isinstance(element, NewElement) and (earlier := first.setdefault(element.id, element)) is not element:
            read[key] = [Fault(pointer(key, "id"), f"is the id of {earlier.at} too")]
    return read


def is_map(document: Mapping[str, Any]) -> bool:
    """Whether a body is a keyed map, not one element."""
    some = any(isinstance(value, dict) for value in document.values())
    return some and (
        all(isinstance(value, dict) for value in document.values()) or not document.keys() & {"id", "data"}
    )


def read_element(key: str | None, value: Any) -> NewElement | list[Fault]:
    """An element, or everything that is wrong with it."""
    if not isinstance(value, dict):
        return [Fault(pointer(key), f"must be an object, not a JSON {_kind(value)}")]
    faults = []
    id_, rows = value.get("id"), value.get("data")
    if not (isinstance(id_, str) and _id.match(id_)):
        faults.append(Fault(pointer(key, "id"), ID_RULE if "id" in value else f"is missing; it {ID_RULE}"))
    name, name_faults = _device_name(key, value)
    faults += name_faults
    if len(value) != 3:
        faults += _unknown(key, value, {"id", "data", *NAMES})
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        what = "must be a list of texts" if "data" in value else "is missing; it must be a list of texts"
        return [*faults, Fault(pointer(key, "data"), f'{what} such as ["54 26 34", "75 87 75"]')]
    try:
        measured = measure(rows, MAX_NUMBERS)
    except NumberError as error:
        return [*faults, Fault(pointer(key, "data", error.row), str(error), 422)]
    if faults or id_ is None or name is None:
        return faults
    return NewElement(key, id_, name, rows, measured)


def read_change(document: Any) -> Change:
    """The change that a PUT or PATCH asks for; both name only what is to be otherwise.

    Raises:
        Problem: 400, with every fault.

    """
    if not isinstance(document, dict) or not document:
        raise Problem(400, 'the body must be an object that names device_name, id or both: {"device_name": "RX 2"}')
    known = {"id", *NAMES, *COMPUTED, "raw_data", "data"}
    faults = _unknown(None, document, known)
    id_ = document.get("id")
    if "id" in document and not (isinstance(id_, str) and _id.match(id_)):
        faults.append(Fault("#/id", ID_RULE))
    name = None
    if document.keys() & set(NAMES):
        name, name_faults = _device_name(None, document)
        faults += name_faults
    if faults:
        raise faulty(faults)
    believed = {field: document[field] for field in (*COMPUTED, "raw_data") if field in document}
    if "data" in document:
        believed.setdefault("raw_data", document["data"])
    return Change(id_, name, believed)


def _device_name(key: str | None, value: Mapping[str, Any]) -> tuple[str | None, list[Fault]]:
    given = [field for field in NAMES if field in value]
    if not given:
        return None, [Fault(pointer(key, "deviceName"), f"is missing; it {NAME_RULE}")]
    name = value[given[0]]
    if len(given) > 1 and value[given[1]] != name:
        return None, [Fault(pointer(key, "device_name"), "is another name than deviceName; send one of the two")]
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME or _control.search(name):
        return None, [Fault(pointer(key, given[0]), NAME_RULE)]
    return name, []


def _unknown(key: str | None, value: Mapping[str, Any], known: set[str]) -> list[Fault]:
    return [
        Fault(pointer(key, field), "is computed by the server" if field in COMPUTED else "is no field of an element")
        for field in value
        if field not in known
    ]


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return kinds.get(type(value), "null")
