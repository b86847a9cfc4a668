"""The cells of one column: sorted into numbers, missing values and the rest, part by part, and put together.

There are two ways from cells to a part, with the same outcome: `part_of_cells` in plain Python, for small files and
for what does not fit, and `part_of_series` in polars, which hands the few cells that polars does not take for finite
numbers to the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from csv_cells import BLANKS, CellRule
from frequencies import Counted, Frequencies
from moments import Moments

if TYPE_CHECKING:
    import polars as pl

SHOWN_FINDINGS = 5


@dataclass
class Findings:
    """Something that stands in several lines: how often, and the first few lines with what stands there."""

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)

    def note(self, line: int, value: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < SHOWN_FINDINGS:
            self.first.append((line, value))

    def extend(self, other: Findings) -> None:
        """Take in the findings of a later part."""
        self.count += other.count
        self.first += other.first[: SHOWN_FINDINGS - len(self.first)]


@dataclass
class ColumnPart:
    """What some cells of a column hold."""

    moments: Moments = field(default_factory=Moments)
    missing: int = 0
    not_finite: Findings = field(default_factory=Findings)
    bad: Findings = field(default_factory=Findings)
    texts: int = 0
    numbers_among_text: int = 0
    counted: Counted | None = None


@dataclass
class Column:
    """A whole column. `as_text` says how its cells were taken in; `is_numeric` what it turned out to be."""

    name: str
    as_text: bool
    moments: Moments = field(default_factory=Moments)
    missing: int = 0
    not_finite: Findings = field(default_factory=Findings)
    bad: Findings = field(default_factory=Findings)
    frequencies: Frequencies = field(default_factory=Frequencies)
    texts: int = 0
    numbers_among_text: int = 0

    def add(self, part: ColumnPart) -> None:
        """Take in the next part of the column."""
        self.moments |= part.moments
        self.missing += part.missing
        self.not_finite.extend(part.not_finite)
        self.bad.extend(part.bad)
        self.texts += part.texts
        self.numbers_among_text += part.numbers_among_text
        if part.counted is not None:
            self.frequencies.add(part.counted)

    @property
    def is_numeric(self) -> bool:
        """Whether more than half of the values are numbers; a column with none but missing values is not numeric."""
        if self.as_text:
            return self.numbers_among_text * 2 > self.texts
        numbers = self.moments.count + self.not_finite.count
        return numbers > self.bad.count


def part_of_cells(cells: Sequence[str], lines: Iterable[int], rule: CellRule, *, as_text: bool) -> ColumnPart:
    """The part that these cells make; `lines` has the line of each cell."""
    if as_text:
        return part_of_counts(Counter(cells), rule)
    part = ColumnPart()
    numbers = []
    for padded, line in zip(cells, lines, strict=True):
        cell = padded.strip(BLANKS)
        if rule.is_missing(cell):
            part.missing += 1
        elif (number := rule.number(cell)) is None:
            part.bad.note(line, cell)
        elif np.isfinite(number):
            numbers.append(number)
        else:
            part.not_finite.note(line, cell)
    part.moments = Moments.of(np.array(numbers, np.float64))
    return part


def part_of_counts(counts: Mapping[str, int], rule: CellRule) -> ColumnPart:
    """The part of a text column, from each different cell and how often it occurs."""
    part = ColumnPart()
    texts: Counter[str] = Counter()
    for padded, count in counts.items():
        cell = padded.strip(BLANKS)
        if rule.is_missing(cell):
            part.missing += count
            continue
        texts[cell] += count
        if rule.number(cell) is not None:
            part.numbers_among_text += count
    part.texts = texts.total()
    part.counted = Counted(texts)
    return part


def part_of_series(cells: pl.Series, lines: Sequence[int], rule: CellRule, *, as_text: bool) -> ColumnPart:
    """The part that a polars column of strings makes; `lines` has the line of each row."""
    stripped = cells.str.strip_chars(BLANKS)
    if as_text:
        return _part_of_texts(stripped, rule)
    numbers = _as_numbers(stripped, rule)
    empty = stripped == ""
    finite = numbers.is_finite().fill_null(value=False)
    rest = (~(finite | empty)).arg_true()
    part = part_of_cells(stripped.gather(rest).to_list(), [lines[row] for row in rest], rule, as_text=False)
    part.missing += int(empty.sum())
    part.moments = Moments.of(numbers.filter(finite).to_numpy()) | part.moments
    return part


def _as_numbers(stripped: pl.Series, rule: CellRule) -> pl.Series:
    """The cells as Float64; null where a cell is no number."""
    import polars as pl

    if rule.decimal == ",":
        with_point = stripped.str.contains(".", literal=True)
        stripped = stripped.str.replace_all(",", ".", literal=True).set(with_point, None)
    return stripped.cast(pl.Float64, strict=False)


def _part_of_texts(stripped: pl.Series, rule: CellRule) -> ColumnPart:
    values = stripped.alias("value").value_counts(name="count")
    missing = values["value"].str.to_lowercase().is_in([*rule.missing_words, ""])
    texts = values.filter(~missing)
    total = int(texts["count"].sum())
    return ColumnPart(
        missing=len(stripped) - total,
        texts=total,
        numbers_among_text=int(texts["count"].filter(_as_numbers(texts["value"], rule).is_not_null()).sum()),
        counted=Counted.of_distinct(texts["value"], texts["count"]),
    )
