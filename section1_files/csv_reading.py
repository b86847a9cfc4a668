"""From a stream of lines to blocks of whole records: where a record ends, and whether its quotes are regular.

What a record is says RFC 4180, and of files that break it Python's csv module.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from csv_text import BLOCK_SIZE, LINE_LIMIT, LineStream, check_text, whole_line, with_plain_line_ends
from errors import InputError

CACHED = 1 << 18  # bytes that are looked at in one go, so that they stay in the processor's cache


@dataclass(frozen=True)
class Block:
    """Whole records in UTF-8, each line ended by LF, every quoted cell closed."""

    text: bytes
    first_line: int
    line_count: int


@dataclass
class Records:
    """Records as the csv module reads them, with the line on which each starts."""

    starts: list[int] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)
    next_line: int = 1


def read_records(
    text: bytes, first_line: int, delimiter: str, more: Callable[[int], bytes] = lambda _line: b""
) -> Records:
    """Read all records of a text, with lines from `more` (called with the line's number) while a cell is open.

    Raises:
        InputError: a quoted cell does not end, or is longer than LINE_LIMIT.

    """
    csv.field_size_limit(LINE_LIMIT)
    found = Records(next_line=first_line)
    record_start, cell_open_at_end = first_line, False

    def lines() -> Iterator[str]:
        nonlocal cell_open_at_end
        for line in text.decode().split("\n")[:-1]:
            found.next_line += 1
            yield line + "\n"
        while found.next_line > record_start:  # the reader asks for a line in the middle of a record
            line_text = with_plain_line_ends(more(found.next_line))
            if not line_text:
                cell_open_at_end = True
                return
            check_text(line_text, found.next_line)
            found.next_line += 1
            yield line_text.decode()

    try:
        for cells in csv.reader(lines(), delimiter=delimiter):
            if cell_open_at_end:
                break
            found.starts.append(record_start)
            found.cells.append(cells)
            record_start = found.next_line
    except csv.Error:
        cell_open_at_end = True
    if cell_open_at_end:
        raise InputError(f"a quoted cell in the record of line {record_start:,} does not end; close its quote")
    return found


def first_record(stream: LineStream, delimiter: str, line_number: int = 1) -> tuple[Records, int]:
    """The first record that holds something, alone, and the number of blank lines before it."""
    first_line = line_number
    while text := with_plain_line_ends(whole_line(stream, line_number)):
        check_text(text, line_number)
        if text.strip(b" \t\n"):
            return read_records(
                text, line_number, delimiter, lambda line: whole_line(stream, line)
            ), line_number - first_line
        line_number += 1
    raise InputError("holds no data")


def blocks_of(stream: LineStream, next_line: int, delimiter: str) -> Iterator[Block | Records]:
    """The rest of a file: blocks, or records already read where its quotes do not follow RFC 4180.

    Raises:
        InputError: a line or a cell that does not end, a NUL byte.
        NotUtf8Error: the text is in another encoding.

    """
    while text := stream.read(BLOCK_SIZE):
        if not text.endswith(b"\n"):
            text += whole_line(stream, next_line)
        text = with_plain_line_ends(text)
        check_text(text, next_line)
        if b'"' in text:
            text += _lines_until_quotes_are_even(stream, next_line) if text.count(b'"') % 2 else b""
            if not quotes_are_regular(text, delimiter):
                records = read_records(text, next_line, delimiter, lambda line: whole_line(stream, line))
                next_line = records.next_line
                yield records
                continue
        block = Block(text, next_line, count_byte(text, "\n"))
        next_line += block.line_count
        yield block


def _lines_until_quotes_are_even(stream: LineStream, line: int) -> bytes:
    lines: list[bytes] = []
    size = 0
    while size < LINE_LIMIT and (text := with_plain_line_ends(whole_line(stream, line))):
        check_text(text, line)
        lines.append(text)
        size += len(text)
        if text.count(b'"') % 2:
            break
    return b"".join(lines)


def as_array(text: bytes) -> NDArray[np.uint8]:
    """The bytes of a text, without a copy."""
    return np.frombuffer(text, np.uint8)


def count_byte(text: bytes, character: str) -> int:
    """How often an ASCII character occurs."""
    codes, code = as_array(text), ord(character)
    return sum(int(np.count_nonzero(codes[at : at + CACHED] == code)) for at in range(0, len(codes), CACHED))


def quotes_are_regular(text: bytes, delimiter: str) -> bool:
    """Whether every quoted cell is quoted as a whole: RFC 4180, section 2, rules 5 to 7."""
    codes = as_array(text)
    quotes = np.flatnonzero(codes == ord('"'))
    if len(quotes) % 2:
        return False
    neighbours = np.zeros(256, np.bool_)
    neighbours[[ord(delimiter), ord("\n"), ord('"')]] = True
    opening, closing = quotes[0::2], quotes[1::2]
    before = codes[np.maximum(opening - 1, 0)]
    return bool((neighbours[before] | (opening == 0)).all() and neighbours[codes[closing + 1]].all())
