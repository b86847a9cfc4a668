"""Elements out of a JSON file, one at a time and strictly (RFC 8259), however large the file.

The file is one object; each of its members is an element. A scanner finds where a member's value ends, and orjson
parses the value alone, so that memory holds one element, and what is wrong inside one element leaves the others alone.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

CHUNK = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SPACE = re.compile(rb"[ \t\n\r]*")
# An object without objects or escapes in it, of a length that one look can take in: the usual element.
FLAT_OBJECT = re.compile(rb'\{[^{}"\\]*+(?:"[^"\\]*+"[^{}"\\]*+)*+\}')
FLAT_LENGTH = 8192
STRUCTURE = re.compile(rb'["{}\[\]]')
SCALAR = re.compile(rb"[^,}\]\s]*")
BACKSLASH = ord("\\")
FIELDS = {"id": str, "data": list, "deviceName": str}


@dataclass(frozen=True)
class Element:
    """An element as the file has it; `line` is where it starts, counted from 1."""

    id: str
    device_name: str
    rows: list[str]
    line: int


@dataclass(frozen=True)
class Problem:
    """What cannot be processed: the element's id, where it has one, the line where it starts, and the reason.

    `of_file` says that the file itself is wrong there, not an element.
    """

    id: str | None
    line: int
    reason: str
    of_file: bool = False


class JsonSyntaxError(Exception):
    """The file is no JSON object from here on; nothing after this place can be told apart."""


class Scanner:
    """The bytes of a file, of which only the value at hand is in memory. Places are counted from the file's start."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._text = file.read(CHUNK)
        self._base = 0  # the place of the first byte in memory
        self._at = 0  # the place that is next
        self._line = 1
        self._counted = 0  # the place up to which line ends are in _line

    def line(self) -> int:
        """The line of the next byte, from 1."""
        self._line += self._text.count(b"\n", self._counted - self._base, self._at - self._base)
        self._counted = self._at
        return self._line

    def skip(self, mark: bytes) -> bool:
        """Step over these bytes, if they are next."""
        found = self._text.startswith(mark, self._at - self._base)
        self._at += len(mark) if found else 0
        return found

    def peek(self) -> bytes:
        """The next byte that is no white space, without stepping over it; empty at the end of the file."""
        while True:
            self._at = self._matched(SPACE, self._at)
            here = self._at - self._base
            if here < len(self._text) or not self._read_more(self._at):
                return self._text[here : here + 1]

    def take(self, expected: bytes) -> None:
        """Step over one byte that must be next."""
        found = self.peek()
        if found != expected:
            what = ascii(found.decode("latin-1")) if found else "the end of the file"
            raise JsonSyntaxError(f"{what} stands where {expected.decode()!r} must")
        self._at += 1

    def skip_comma(self) -> bool:
        """Step over a comma, if it is next."""
        self.peek()
        return self.skip(b",")

    def value(self) -> bytes:
        """The bytes of the next value; of what is inside only strings and brackets are understood."""
        kind = self.peek()
        start = self._at
        if kind == b'"':
            self._at = self._after_string(start, start + 1)
        elif kind == b"{" and (match := FLAT_OBJECT.match(self._text, here := start - self._base, here + FLAT_LENGTH)):
            self._at = self._base + match.end()
        elif kind in (b"{", b"["):
            self._at = self._after_brackets(start)
        else:
            while (end := self._matched(SCALAR, start)) == self._base + len(self._text) and self._read_more(start):
                pass
            self._at = end
        return self._text[start - self._base : self._at - self._base]

    def _after_string(self, keep: int, place: int) -> int:
        """Where a string ends that is open at this place."""
        while (quote := self._text.find(b'"', place - self._base)) >= 0 or self._read_more(keep):
            if quote < 0:
                continue
            slashes = quote
            while self._text[slashes - 1] == BACKSLASH:
                slashes -= 1
            place = self._base + quote + 1
            if (quote - slashes) % 2 == 0:
                return place
        raise JsonSyntaxError("a string does not end")

    def _after_brackets(self, start: int) -> int:
        depth, place = 0, start
        while (match := STRUCTURE.search(self._text, place - self._base)) or self._read_more(start):
            if match is None:
                continue
            place = self._base + match.end()
            if match[0] == b'"':
                place = self._after_string(start, place)
            else:
                depth += 1 if match[0] in b"{[" else -1
                if depth == 0:
                    return place
        raise JsonSyntaxError("an object or an array does not end")

    def _matched(self, pattern: re.Pattern[bytes], place: int) -> int:
        match = pattern.match(self._text, place - self._base)
        return self._base + match.end() if match else place

    def _read_more(self, keep: int) -> bool:
        """Read on, as much again as is kept, so that a long value is copied a few times only; drop what is before."""
        dropped = keep - self._base
        more = self._file.read(max(CHUNK, len(self._text) - dropped))
        if not more:
            return False
        if self._counted < keep:
            self._line += self._text.count(b"\n", self._counted - self._base, dropped)
            self._counted = keep
        self._text = self._text[dropped:] + more
        self._base = keep
        return True


def elements_in(file: BinaryIO) -> Iterator[Element | Problem]:
    """Every element of a file, or what is wrong with it, in the file's order.

    What is wrong with the file itself is the last problem; it has no id. Ids and keys are remembered as hashes, about
    150 bytes an element.
    """
    scanner = Scanner(file)
    seen: set[int] = set()
    if scanner.skip(BYTE_ORDER_MARK):
        yield Problem(
            None, 1, "the file starts with a byte order mark, which JSON forbids (RFC 8259, 8.1)", of_file=True
        )
    try:
        scanner.take(b"{")
        more = scanner.peek() != b"}"
        while more:
            line, key = _key(scanner)
            scanner.take(b":")
            scanner.peek()
            found = element_of(scanner.value(), line)
            if isinstance(found, Element) and key is None:
                found = Problem(found.id, line, "its key is no JSON string")
            elif key is not None and not _is_new(("key", key), seen):
                found = Problem(found.id, line, f"the key {key!a} is repeated")
            if isinstance(found, Element) and not _is_new(("id", found.id), seen):
                found = Problem(found.id, line, "the id is repeated")
            yield found
            more = scanner.skip_comma()
        scanner.take(b"}")
        if scanner.peek():
            raise JsonSyntaxError("something stands behind the end of the object")
    except JsonSyntaxError as problem:
        reason = f"the file is no JSON object: {problem}; nothing behind this place is read"
        yield Problem(None, scanner.line(), reason, of_file=True)


def _key(scanner: Scanner) -> tuple[int, str | None]:
    """Line and text of a member's key; no text where it is no JSON string."""
    if scanner.peek() != b'"':
        raise JsonSyntaxError("a key must be a string")
    line = scanner.line()
    try:
        return line, orjson.loads(scanner.value())
    except orjson.JSONDecodeError:
        return line, None


def _is_new(item: tuple[str, str], seen: set[int]) -> bool:
    before = len(seen)
    seen.add(hash(item))
    return len(seen) > before


def element_of(text: bytes, line: int) -> Element | Problem:
    """The element that a JSON text holds, or what is wrong with it."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Problem(None, line, f"is no JSON: {error.msg} (byte {error.pos + 1} of the element)")
    if not isinstance(value, dict):
        return Problem(None, line, "is no object")
    id_ = value.get("id") if isinstance(value.get("id"), str) else None
    if not id_:
        return Problem(None, line, "has no id, a text that is not empty")
    for field, kind in FIELDS.items():
        if field not in value:
            return Problem(id_, line, f"{field} is missing")
        if not isinstance(value[field], kind):
            return Problem(id_, line, f"{field} is no {'list of texts' if kind is list else 'text'}")
    rows = value["data"]
    if not all(isinstance(row, str) for row in rows):
        return Problem(id_, line, "data is no list of texts")
    if repeated := _repeated_key(text, value):
        return Problem(id_, line, f"the key {repeated!a} is repeated")
    return Element(id_, value["deviceName"], rows, line)


def _repeated_key(text: bytes, value: dict[str, Any]) -> str | None:
    """A key that stands twice in an object; orjson would take the last of them without a word."""
    if b"\\" not in text and text.count(b'"') == 2 * (len(value) + len(value["data"]) + 2):
        return None  # as many strings as there are keys, rows, and values of two fields: the usual case
    repeated: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        keys = [key for key, _ in pairs]
        repeated.extend(key for number, key in enumerate(keys) if key in keys[:number])

    try:
        json.loads(text, object_pairs_hook=note)
    except RecursionError:  # deeper than Python goes, not deeper than orjson
        return "(too deep to tell)"
    return repeated[0] if repeated else None
