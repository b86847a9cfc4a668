"""Split blocks of lines into blocks of complete records, and parse these.

Records follow RFC 4180; files that violate it are read like Python's csv module does.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from csv_source import MAX_LINE_BYTES, CsvSource
from errors import InputError

UNCLOSED_QUOTE = ("a quoted cell in this record does not end", "close its quote")


@dataclass(frozen=True)
class Block:
    """Complete records in UTF-8; `is_regular` when every quoted cell is quoted from end to end."""

    text: bytes
    first_line: int
    line_count: int
    is_regular: bool


@dataclass
class Records:
    """Records with the line on which each starts; `length` is that of their text in bytes."""

    next_line: int
    starts: list[int] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)
    length: int = 0


def parse_records(text: bytes, first_line: int, delimiter: str, limit: int | None = None) -> Records:
    """Parse the complete records of a text, at most `limit` of them; a quoted cell without an end stops before it."""
    csv.field_size_limit(MAX_LINE_BYTES)
    records = Records(first_line)
    lines = io.BytesIO(text)
    # A quoted cell without an end takes in the additional line.
    reader = csv.reader(chain(map(bytes.decode, lines), [""]), delimiter=delimiter, skipinitialspace=True)
    with suppress(csv.Error):  # a cell longer than MAX_LINE_BYTES
        for cells in islice(reader, limit):
            if lines.tell() == len(text) and reader.line_num > text.count(b"\n"):
                break
            records.starts.append(records.next_line)
            records.cells.append(cells)
            records.length, records.next_line = lines.tell(), first_line + reader.line_num
    return records


def iter_blocks(source: CsvSource, lines: Iterator[bytes], rest: bytes, line: int, delimiter: str) -> Iterator[Block]:
    """Yield the rest of a file in blocks: first `rest`, which starts on `line`, then `lines`."""
    text: bytes | None = rest
    while text is not None:
        end, is_regular = _find_end(text, line, delimiter)
        if end:
            block = Block(text[:end], line, count_byte(text[:end], "\n"), is_regular)
            line += block.line_count
            yield block
        rest = text[end:]
        if len(rest) > MAX_LINE_BYTES:
            break
        text = next(lines, None)
        if text is not None:
            text = rest + source.to_utf8(text, line + rest.count(b"\n"))
    if rest:
        raise InputError(None, *UNCLOSED_QUOTE, line)


def _find_end(text: bytes, line: int, delimiter: str) -> tuple[int, bool]:
    """Return the length of the complete records at the start of a text, and whether their quotes are regular."""
    if b'"' not in text:
        return len(text), True
    codes = np.frombuffer(text, np.uint8)
    line_ends = np.flatnonzero((codes == ord("\n")) & ~_is_within_quotes(codes))
    end = int(line_ends[-1]) + 1 if len(line_ends) else 0
    if end and _quotes_are_regular(codes[:end], delimiter):
        return end, True
    return parse_records(text, line, delimiter).length, False


def _is_within_quotes(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return for each byte whether an odd number of quotes stands before or at it."""
    return np.logical_xor.accumulate(codes == ord('"'))


def count_byte(text: bytes, character: str) -> int:
    """Count an ASCII character, three times as fast as `bytes.count` where there are many."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(character)))


def _quotes_are_regular(codes: NDArray[np.uint8], delimiter: str) -> bool:
    """Return whether every quoted cell is quoted from end to end: RFC 4180, section 2, rules 5 to 7."""
    quotes = np.flatnonzero(codes == ord('"'))
    neighbours = np.zeros(256, np.bool_)
    neighbours[[ord(delimiter), ord("\n"), ord('"')]] = True
    opening, closing = quotes[0::2], quotes[1::2]
    before = codes[np.maximum(opening - 1, 0)]
    return bool((neighbours[before] | (opening == 0)).all() and neighbours[codes[closing + 1]].all())


def find_row_starts(block: Block, delimiter: str, width: int) -> Sequence[int] | None:
    """Return the line on which each row starts; None where the number of delimiters does not fit `width` columns.

    polars rejects rows that are too long, so that the right number of delimiters leaves no room for short ones nor for
    blank lines; only in a file of one column these have to be searched for.
    """
    text = block.text
    if text.startswith(b"\xef\xbb\xbf") or (width == 1 and (text.startswith(b"\n") or b"\n\n" in text)):
        return None
    if b'"' not in text:
        fits = count_byte(text, delimiter) == block.line_count * (width - 1)
        return range(block.first_line, block.first_line + block.line_count) if fits else None
    codes = np.frombuffer(text, np.uint8)
    outside = ~_is_within_quotes(codes)
    row_ends = np.flatnonzero(outside[codes == ord("\n")])
    if np.count_nonzero(outside & (codes == ord(delimiter))) != len(row_ends) * (width - 1):
        return None
    starts: list[int] = (block.first_line + np.concatenate(([0], row_ends[:-1] + 1))).tolist()
    return starts
