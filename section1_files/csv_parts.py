"""From blocks and records to parts: what a run of rows holds, column by column.

A block whose rows all fit is parsed by polars; every other block, and every small file, by Python's csv module.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from csv_cells import BLANKS, CellRule
from csv_columns import ColumnPart, Findings, part_of_cells, part_of_series
from csv_reading import Block, Records, as_array, count_byte, read_records
from moments import Moments

if TYPE_CHECKING:
    import polars as pl

SMALL = 1 << 17  # below this many bytes, importing polars takes longer than doing without


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


@dataclass
class Part:
    """What a run of records holds."""

    rows: int
    columns: list[ColumnPart]
    blank_lines: int = 0
    short_rows: Findings = field(default_factory=Findings)
    long_rows: Findings = field(default_factory=Findings)


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
