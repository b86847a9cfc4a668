"""Read the elements of a JSON file one at a time and strictly (RFC 8259), whatever the size of the file.

The file is one object whose members are elements, or one element alone. A scanner finds the end of each member's value
and only then parses it, so memory holds one element, and an invalid element does not affect the others.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, NoReturn

CHUNK = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SPACE = re.compile(rb"[ \t\n\r]*")
# An object without nested objects or escapes, as elements usually are: one match instead of a loop over its strings.
FLAT_OBJECT = re.compile(rb'\{[^{}"\\]*+(?:"[^"\\]*+"[^{}"\\]*+)*+\}')
FLAT_LENGTH = 8192
STRUCTURE = re.compile(rb'["{}\[\]]')
SCALAR = re.compile(rb"[^,}\]\s]*")
BACKSLASH = ord("\\")
# A first key of an element whose value is not an object: the file is one element, not a map of elements.
ONE_ELEMENT = re.compile(rb'\{\s*"(?:id|data|deviceName)"\s*:\s*[^{\s]')
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

    Positions are byte offsets from the start of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._text = file.read(CHUNK)
        self._base = 0  # position of the first byte in memory
        self._at = 0  # position of the next byte
        self._line = 1
        self._counted = 0  # position up to which _line counts line ends

    def line(self) -> int:
        """Return the line of the next byte, from 1."""
        self._line += self._text.count(b"\n", self._counted - self._base, self._at - self._base)
        self._counted = self._at
        return self._line

    def peek(self) -> bytes:
        """Skip whitespace and return the next byte without consuming it; empty at the end of the file."""
        while True:
            self._at = self._match_end(SPACE, self._at)
            here = self._at - self._base
            if here < len(self._text) or not self._read_more(self._at):
                return self._text[here : here + 1]

    def starts_with(self, pattern: re.Pattern[bytes]) -> bool:
        """Return whether the next bytes in memory match a pattern."""
        return pattern.match(self._text, self._at - self._base) is not None

    def skip_byte_order_mark(self) -> bool:
        """Skip a byte order mark at the start of the file; return whether there was one."""
        self._at = len(BYTE_ORDER_MARK) if self._text.startswith(BYTE_ORDER_MARK) else 0
        return self._at > 0

    def skip(self, expected: bytes) -> bool:
        """Skip whitespace, and this byte if it is next; return whether it was."""
        found = self.peek() == expected
        self._at += found
        return found

    def expect(self, expected: bytes) -> None:
        """Skip one byte that must be next."""
        if not self.skip(expected):
            found = self.peek()
            what = ascii(found.decode("latin-1")) if found else "the end of the file"
            raise JsonSyntaxError(f"expected {expected.decode()!r}, found {what}")

    def read_value(self) -> bytes:
        """Return the bytes of the next value; only strings and brackets inside it are understood."""
        kind = self.peek()
        start = self._at
        if kind == b'"':
            self._at = self._string_end(start, start + 1)
        elif kind == b"{" and (match := FLAT_OBJECT.match(self._text, here := start - self._base, here + FLAT_LENGTH)):
            self._at = self._base + match.end()
        elif kind in (b"{", b"["):
            self._at = self._brackets_end(start)
        else:
            while (end := self._match_end(SCALAR, start)) == self._base + len(self._text) and self._read_more(start):
                pass
            self._at = end
        return self._text[start - self._base : self._at - self._base]

    def _string_end(self, keep: int, position: int) -> int:
        """Return where the string that is open at this position ends."""
        while (quote := self._text.find(b'"', position - self._base)) >= 0 or self._read_more(keep):
            if quote < 0:
                continue
            slashes = quote
            while self._text[slashes - 1] == BACKSLASH:
                slashes -= 1
            position = self._base + quote + 1
            if (quote - slashes) % 2 == 0:
                return position
        raise JsonSyntaxError("a string is not closed")

    def _brackets_end(self, start: int) -> int:
        depth, position = 0, start
        while (match := STRUCTURE.search(self._text, position - self._base)) or self._read_more(start):
            if match is None:
                continue
            position = self._base + match.end()
            if match[0] == b'"':
                position = self._string_end(start, position)
            else:
                depth += 1 if match[0] in b"{[" else -1
                if depth == 0:
                    return position
        raise JsonSyntaxError("an object or an array is not closed")

    def _match_end(self, pattern: re.Pattern[bytes], position: int) -> int:
        match = pattern.match(self._text, position - self._base)
        return self._base + match.end() if match else position

    def _read_more(self, keep: int) -> bool:
        """Drop the bytes before `keep` and read at least as many as are kept, so that long values are copied rarely."""
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


def iter_elements(file: BinaryIO) -> Iterator[Element | ElementError]:
    """Yield every element of a file, or its error, in the file's order.

    The file holds elements by key, or one element alone. An error in the file itself comes last. Keys and ids are
    remembered as hashes to find repeated ones: about 150 bytes an element.
    """
    scanner = Scanner(file)
    if scanner.skip_byte_order_mark():
        reason = "the file starts with a byte order mark, which JSON forbids (RFC 8259, 8.1)"
        yield ElementError(None, 1, reason, in_file=True)
    try:
        scanner.peek()
        if scanner.starts_with(ONE_ELEMENT):
            line = scanner.line()
            yield parse_element(scanner.read_value(), line)
        else:
            yield from _iter_members(scanner)
        if scanner.peek():
            raise JsonSyntaxError("unexpected text after the end of the object")
    except JsonSyntaxError as error:
        reason = f"not a JSON object: {error}; the rest of the file is not read"
        yield ElementError(None, scanner.line(), reason, in_file=True)


def _iter_members(scanner: Scanner) -> Iterator[Element | ElementError]:
    seen: set[int] = set()
    scanner.expect(b"{")
    if scanner.skip(b"}"):
        return
    while True:
        if scanner.peek() != b'"':
            raise JsonSyntaxError("a key must be a string")
        line, key = scanner.line(), _read_key(scanner)
        scanner.expect(b":")
        found = parse_element(scanner.read_value(), line)
        if key is None:
            found = ElementError(found.id, line, "its key is not a valid JSON string")
        elif not _add(("key", key), seen):
            found = ElementError(found.id, line, f"the key {key!a} is repeated")
        if isinstance(found, Element) and not _add(("id", found.id), seen):
            found = ElementError(found.id, line, "the id is repeated")
        yield found
        if not scanner.skip(b","):
            break
    scanner.expect(b"}")


def _read_key(scanner: Scanner) -> str | None:
    """Return the next key; None where it is not a valid JSON string."""
    try:
        return str(_parse_json(scanner.read_value())[0])
    except ValueError:
        return None


def _add(item: tuple[str, str], seen: set[int]) -> bool:
    """Add an item; return whether it is new."""
    before = len(seen)
    seen.add(hash(item))
    return len(seen) > before


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
