"""From a stream of lines to parts of columns: records, quotes, rows that do not fit.

A block whose rows all fit is parsed by polars; every other block, and every small file, by Python's csv module, which
also is the rule of what a record is (RFC 4180, and what the csv module makes of files that break it).
"""

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from csv_cells import BLANKS, CellRule
from csv_columns import ColumnPart, Findings, part_of_cells, part_of_series
from csv_text import BLOCK_SIZE, LINE_LIMIT, LineStream, check_text, whole_line, with_plain_line_ends
from errors import InputError
from moments import Moments
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

SMALL = 1 << 17  # below this many bytes, importing polars takes longer than doing without
CACHED = 1 << 18  # bytes that are looked at in one go, so that they stay in the processor's cache


class Kind(Enum):
    """What a column is taken for. An integer column is a column of numbers that polars may parse faster."""

    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"


@dataclass(frozen=True)
class Layout:
    """What is known before the rows are read: the delimiter, the rule of cells, what each column is taken for."""

    delimiter: str
    rule: CellRule
    kinds: Sequence[Kind]

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.kinds)


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


@dataclass
class Part:
    """What a run of records holds."""

    rows: int
    columns: list[ColumnPart]
    blank_lines: int = 0
    short_rows: Findings = field(default_factory=Findings)
    long_rows: Findings = field(default_factory=Findings)


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


def part_of(source: Block | Records, layout: Layout) -> Part:
    """What a block or a list of records holds."""
    if isinstance(source, Records):
        return part_of_records(source, layout)
    part = _part_of_regular_block(source, layout) if len(source.text) >= SMALL else None
    return part or part_of_records(read_records(source.text, source.first_line, layout.delimiter), layout)


def part_of_records(records: Records, layout: Layout) -> Part:
    """What a list of records holds. A short row's lacking cells are missing; a long row's further cells are left."""
    width = layout.width
    part = Part(0, [])
    starts, rows = [], []
    for start, cells in zip(records.starts, records.cells, strict=True):
        if not cells or (len(cells) == 1 < width and not cells[0].strip(BLANKS)):
            part.blank_lines += 1
            continue
        if len(cells) < width:
            part.short_rows.note(start, f"{len(cells)} cells")
        elif len(cells) > width:
            part.long_rows.note(start, f"{len(cells)} cells")
        starts.append(start)
        rows.append((cells + [""] * (width - len(cells)))[:width])
    part.rows = len(rows)
    columns: Sequence[Sequence[str]] = list(zip(*rows, strict=True)) or [()] * width
    part.columns = [
        part_of_cells(cells, starts, layout.rule, as_text=kind is Kind.TEXT)
        for cells, kind in zip(columns, layout.kinds, strict=True)
    ]
    return part


def _part_of_regular_block(block: Block, layout: Layout) -> Part | None:
    """What a block holds, by polars; None where a row does not fit or polars reads it otherwise than the csv module."""
    import polars as pl

    lines = _lines_of_rows(block, layout)
    if lines is None:
        return None
    names = [f"column_{number}" for number in range(1, layout.width + 1)]
    rule, plain_numbers = layout.rule, layout.rule.decimal == "." or b"." not in block.text

    def parsed(types: dict[str, type[pl.DataType]]) -> pl.DataFrame:
        return pl.read_csv(
            block.text,
            has_header=False,
            schema={name: types.get(name, pl.String) for name in names},
            columns=list(types),
            separator=layout.delimiter,
            empty_string_is_null=False,
            ignore_errors=True,
            extra_columns="raise",
            decimal_comma=rule.decimal == ",",
        )

    types = {Kind.TEXT: pl.String, Kind.NUMBER: pl.Float64, Kind.INTEGER: pl.Int64}
    try:
        frame = parsed(
            {name: types[kind] if plain_numbers else pl.String for name, kind in zip(names, layout.kinds, strict=True)}
        )
        if frame.height != len(lines):
            return None
        clean = {name: _moments_of_clean_column(frame[name]) for name in names if frame[name].dtype != pl.String}
        again = [name for name, moments in clean.items() if moments is None]
        if again:
            frame = frame.with_columns(parsed(dict.fromkeys(again, pl.String)))
    except pl.exceptions.PolarsError:
        return None
    return Part(
        len(lines),
        [
            ColumnPart(moments)
            if (moments := clean.get(name)) is not None
            else part_of_series(frame[name], lines, rule, as_text=kind is Kind.TEXT)
            for name, kind in zip(names, layout.kinds, strict=True)
        ],
    )


def _moments_of_clean_column(numbers: "pl.Series") -> Moments | None:
    """Moments of a column without a gap; None where a cell is missing, not finite or no number."""
    if numbers.null_count():
        return None
    moments = Moments.of(numbers.to_numpy().astype(np.float64, copy=False))
    return moments if math.isfinite(moments.minimum) and math.isfinite(moments.maximum) else None


def _lines_of_rows(block: Block, layout: Layout) -> Sequence[int] | None:
    """The line on which each row starts; None where the number of delimiters is not what it must be.

    polars refuses rows that are too long, so that the right number of delimiters leaves no room for short ones nor for
    blank lines; only in a file of one column these have to be looked for.
    """
    text, width = block.text, layout.width
    if text.startswith(b"\xef\xbb\xbf") or (width == 1 and (text.startswith(b"\n") or b"\n\n" in text)):
        return None
    if b'"' not in text:
        fits = count_byte(text, layout.delimiter) == block.line_count * (width - 1)
        return range(block.first_line, block.first_line + block.line_count) if fits else None
    codes = as_array(text)
    outside = ~np.logical_xor.accumulate(codes == ord('"'))
    line_ends = outside[codes == ord("\n")]
    row_ends = np.flatnonzero(line_ends)
    if np.count_nonzero(outside & (codes == ord(layout.delimiter))) != len(row_ends) * (width - 1):
        return None
    starts: list[int] = (block.first_line + np.concatenate(([0], row_ends[:-1] + 1))).tolist()
    return starts
