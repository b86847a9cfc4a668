"""Read the elements of a JSON file one at a time and strictly (RFC 8259), whatever the size of the file.

The file is one object whose members are elements, or one element alone. A scanner finds the end of each member's value
and only then parses it, so memory holds one element, and an invalid element does not affect the others.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, NoReturn

CHUNK = 1 << 20
BYTE_ORDER_MARK = re.compile(b"\xef\xbb\xbf")
SPACE = re.compile(rb"[ \t\n\r]*")
BRACKETS = {b"{": re.compile(rb'["{}]'), b"[": re.compile(rb'["\[\]]')}
SCALAR = re.compile(rb"[^,}\]\s]*")
BACKSLASH = ord("\\")
# A field of an element before any object: the file is one element, not a map of elements.
ONE_ELEMENT = re.compile(rb'\{[^{}]*?"(?:id|data|deviceName)"\s*:\s*[^{\s]')
FIELDS = {"id": str, "data": list, "deviceName": str}


class Element(NamedTuple):
    """An element as the file has it; `line` is where it starts, counted from 1."""

    id: str
    device_name: str
    rows: list[str]
    line: int


class ElementError(NamedTuple):
    """An element that cannot be processed, with the line where it starts.

    `id` is None where the element has no valid one; `in_file` marks an error in the file itself.
    """

    id: str | None
    line: int
    reason: str
    in_file: bool = False


class JsonSyntaxError(Exception):
    """The file is not a JSON object from here on."""


class Scanner:
    """Find where the values of a JSON file start and end, with only the current value in memory.

    Offsets count from the next byte, so they stay valid when more of the file is read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.line = 1  # the line of the next byte
        self._file = file
        self._text = file.read(CHUNK)
        self._at = 0  # the index of the next byte in _text

    def peek(self) -> bytes:
        """Skip whitespace and return the next byte without consuming it; empty at the end of the file."""
        while True:
            self.skip(SPACE)
            if self._at < len(self._text) or not self._read_more():
                return self._text[self._at : self._at + 1]

    def starts_with(self, pattern: re.Pattern[bytes]) -> bool:
        """Return whether the next bytes in memory match a pattern."""
        return pattern.match(self._text, self._at) is not None

    def skip(self, pattern: re.Pattern[bytes]) -> bytes:
        """Skip and return the bytes in memory that match a pattern."""
        match = pattern.match(self._text, self._at)
        return self._consume(match.end() - self._at) if match else b""

    def skip_byte(self, expected: bytes) -> bool:
        """Skip whitespace, and this byte if it is next; return whether it was."""
        found = self.peek() == expected
        self._at += found
        return found

    def expect(self, expected: bytes) -> None:
        """Skip one byte that must be next."""
        if not self.skip_byte(expected):
            found = self.peek()
            what = ascii(found.decode("latin-1")) if found else "the end of the file"
            raise JsonSyntaxError(f"expected {expected.decode()!r}, found {what}")

    def read_value(self) -> bytes:
        """Return the bytes of the next value; only strings and brackets inside it are understood."""
        kind = self.peek()
        if kind == b'"':
            return self._consume(self._string_end(1))
        if kind in BRACKETS:
            return self._consume(self._brackets_end(kind))
        value = self.skip(SCALAR)
        while self._at == len(self._text) and self._read_more():
            value += self.skip(SCALAR)
        return value

    def _string_end(self, offset: int) -> int:
        """Return where the string that is open at this offset ends."""
        while (quote := self._text.find(b'"', self._at + offset)) >= 0 or self._read_more():
            if quote < 0:
                continue
            slashes = quote
            while self._text[slashes - 1] == BACKSLASH:
                slashes -= 1
            offset = quote + 1 - self._at
            if (quote - slashes) % 2 == 0:
                return offset
        raise JsonSyntaxError("a string is not closed")

    def _brackets_end(self, opening: bytes) -> int:
        """Return where the object or array that starts at the next byte ends."""
        depth = offset = 0
        while (match := BRACKETS[opening].search(self._text, self._at + offset)) or self._read_more():
            if match is None:
                continue
            offset = match.end() - self._at
            if match[0] == b'"':
                offset = self._string_end(offset)
            else:
                depth += 1 if match[0] == opening else -1
                if depth == 0:
                    return offset
        raise JsonSyntaxError("an object or an array is not closed")

    def _consume(self, length: int) -> bytes:
        consumed = self._text[self._at : self._at + length]
        self.line += consumed.count(b"\n")
        self._at += length
        return consumed

    def _read_more(self) -> bool:
        """Drop the consumed bytes and read at least as many as are left, so that long values are copied rarely."""
        more = self._file.read(max(CHUNK, len(self._text) - self._at))
        self._text, self._at = self._text[self._at :] + more, 0
        return len(more) > 0


def iter_elements(file: BinaryIO) -> Iterator[Element | ElementError]:
    """Yield every element of a file, or its error, in the file's order.

    The file holds elements by key, or one element alone. An error in the file itself comes last.
    """
    scanner = Scanner(file)
    if scanner.skip(BYTE_ORDER_MARK):
        reason = "the file starts with a byte order mark, which JSON forbids (RFC 8259, 8.1)"
        yield ElementError(None, 1, reason, in_file=True)
    try:
        scanner.peek()
        if scanner.starts_with(ONE_ELEMENT):
            line = scanner.line
            yield parse_element(scanner.read_value(), line)
        else:
            yield from _iter_members(scanner)
        if scanner.peek():
            raise JsonSyntaxError("unexpected text after the end of the object")
    except JsonSyntaxError as error:
        reason = f"not a JSON object: {error}; the rest of the file is not read"
        yield ElementError(None, scanner.line, reason, in_file=True)


def _iter_members(scanner: Scanner) -> Iterator[Element | ElementError]:
    keys: set[str] = set()
    ids: set[str] = set()
    scanner.expect(b"{")
    if scanner.skip_byte(b"}"):
        return
    while True:
        if scanner.peek() != b'"':
            raise JsonSyntaxError("a key must be a string")
        line, key = scanner.line, scanner.read_value()
        scanner.expect(b":")
        found = parse_element(scanner.read_value(), line)
        try:
            name = _parse_json(key)[0]
            if name in keys:
                found = ElementError(found.id, line, f"the key {name!a} is repeated")
            keys.add(name)
        except ValueError:
            found = ElementError(found.id, line, "its key is not a valid JSON string")
        if isinstance(found, Element):
            if found.id in ids:
                found = ElementError(found.id, line, "the id is repeated")
            else:
                ids.add(found.id)
        yield found
        if not scanner.skip_byte(b","):
            break
    scanner.expect(b"}")


def parse_element(text: bytes, line: int) -> Element | ElementError:
    """Parse the JSON text of one element that starts on this line."""
    try:
        value, repeated = _parse_json(text)
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno - 1}, character {error.pos + 1} of the element"
        return ElementError(None, line, f"invalid JSON: {error.msg} ({where})")
    except ValueError as error:
        return ElementError(None, line, f"invalid JSON: {error}")
    if not isinstance(value, dict):
        return ElementError(None, line, "not a JSON object")
    id_ = value.get("id")
    if not isinstance(id_, str) or not id_:
        return ElementError(None, line, "'id' must be a non-empty string")
    for name, kind in FIELDS.items():
        if name not in value:
            return ElementError(id_, line, f"'{name}' is missing")
        if not isinstance(value[name], kind):
            return ElementError(id_, line, f"'{name}' must be a {'list of strings' if kind is list else 'string'}")
    if not all(isinstance(row, str) for row in value["data"]):
        return ElementError(id_, line, "'data' must be a list of strings")
    if repeated is not None:
        return ElementError(id_, line, f"the key {repeated!a} is repeated")
    return Element(id_, value["deviceName"], value["data"], line)


def _parse_json(text: bytes) -> tuple[Any, str | None]:
    """Parse JSON; also return a key that an object repeats.

    Reject what Python's parser accepts beyond RFC 8259: NaN, Infinity and lone surrogates.

    Raises:
        ValueError: The text is not valid JSON.
    """
    repeated: list[str] = []

    def build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key, value in pairs:
            if key in built:
                repeated.append(key)
            built[key] = value
        return built

    try:
        decoded = text.decode("utf-8")
        # Integers as floats: Python's int() refuses more than 4,300 digits, and no field is a JSON number.
        value = json.loads(decoded, object_pairs_hook=build_object, parse_constant=_reject_constant, parse_int=float)
        if "\\" in decoded:  # only an escape can be a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start + 1} of the element") from None
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value, repeated[0] if repeated else None


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
