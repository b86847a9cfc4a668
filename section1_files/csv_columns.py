"""The cells of one column, block by block: numbers, missing values and text, in one mergeable `Column`.

There are two paths with the same result: `Column.from_cells` in plain Python, for small files and for irregular rows,
and `Column.from_series` in polars, which passes the cells that are not plain finite numbers to the first.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from csv_dialect import FORMATTED, WHITESPACE, CellRule
from moments import Moments

if TYPE_CHECKING:
    import polars as pl

MAX_EXAMPLES = 5
MAX_DISTINCT = 20_000
MAX_DISTINCT_CHARACTERS = 4_000_000


@dataclass
class Anomalies:
    """A kind of finding: how often it occurs, and the first few lines with their values."""

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, value: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < MAX_EXAMPLES:
            self.first.append((line, value))

    def merge(self, other: Anomalies) -> None:
        """Add the findings of another block, in any order."""
        self.count += other.count
        self.first = sorted([*self.first, *other.first])[:MAX_EXAMPLES]


@dataclass
class Numbers:
    """Numbers of one format, `certain` of which can be read in one way only; `arrays` keeps them for quartiles."""

    moments: Moments = field(default_factory=Moments)
    cells: Anomalies = field(default_factory=Anomalies)
    certain: int = 0
    arrays: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, values: NDArray[np.float64], *, keep: bool) -> None:
        """Add finite numbers."""
        self.moments = self.moments.merge(Moments.from_array(values))
        if keep:
            self.arrays.append(values)

    def merge(self, other: Numbers) -> None:
        """Add the numbers of another block."""
        self.moments = self.moments.merge(other.moments)
        self.cells.merge(other.cells)
        self.certain += other.certain
        self.arrays += other.arrays


@dataclass
class Column:
    """One column, of a block or of the complete file.

    Numbers with separators of thousands or a unit are collected by format until `finish` decides whether the column
    is consistent. `values` counts the distinct values, except for `uncounted` plain numbers of blocks that are mostly
    numbers; it is None where there are more than MAX_DISTINCT, or MAX_DISTINCT_CHARACTERS in them.
    """

    name: str = ""
    number: int = 1
    missing: int = 0
    plain: Numbers = field(default_factory=Numbers)
    formatted: dict[tuple[str, str], Numbers] = field(default_factory=dict)
    not_finite: Anomalies = field(default_factory=Anomalies)
    texts: Anomalies = field(default_factory=Anomalies)
    values: Counter[str] | None = field(default_factory=Counter)
    uncounted: int = 0
    has_fractions: bool = False
    has_leading_zeros: bool = False
    unit: str = ""
    separator: str = ""

    @classmethod
    def from_cells(cls, cells: Sequence[str], lines: Iterable[int], rule: CellRule, *, keep: bool = False) -> Column:
        """Return the column of these cells; `lines` has the line of each; `keep` keeps the numbers for quartiles."""
        column = cls()
        plain: list[float] = []
        formatted: dict[tuple[str, str], list[float]] = {}
        values: Counter[str] = Counter()
        others: Counter[str] = Counter()
        for padded, line in zip(cells, lines, strict=True):
            cell = padded.strip(WHITESPACE)
            if rule.is_missing(cell):
                column.missing += 1
                continue
            values[cell] += 1
            number = rule.parse_number(cell)
            if number is not None and math.isfinite(number):
                plain.append(number)
                column.has_fractions |= not number.is_integer()
                continue
            others[cell] += 1
            if number is not None:
                column.not_finite.add(line, cell)
            elif (amount := rule.parse_formatted(cell)) is not None:
                key = (amount.unit, amount.separator)
                numbers = column.formatted.setdefault(key, Numbers())
                numbers.cells.add(line, cell)
                numbers.certain += amount.is_certain
                formatted.setdefault(key, []).append(amount.value)
            else:
                column.texts.add(line, cell)
        column.plain.add(np.array(plain, np.float64), keep=keep)
        for key, amounts in formatted.items():
            column.formatted[key].add(np.array(amounts, np.float64), keep=keep)
        if len(plain) * 2 > values.total():
            column.uncounted, values = len(plain), others
        column.values = _limit(values)
        return column

    @classmethod
    def from_numbers(cls, values: NDArray[np.float64], *, are_integers: bool, keep: bool = False) -> Column:
        """Return the column of finite numbers without missing values."""
        column = cls(uncounted=len(values), has_fractions=not are_integers and _have_fractions(values))
        column.plain.add(values, keep=keep)
        return column

    @classmethod
    def from_series(cls, cells: pl.Series, lines: Sequence[int], rule: CellRule, *, keep: bool = False) -> Column:
        """Return the column of a polars series of strings; `lines` has the line of each row."""
        stripped = cells.str.strip_chars(WHITESPACE)
        numbers = _cast_to_float(stripped, rule)
        is_plain = numbers.is_finite().fill_null(value=False)
        rest, rows = stripped.filter(~is_plain), (~is_plain).arg_true()
        is_missing = rest.str.to_lowercase().is_in([*rule.na_words])
        special = (numbers.gather(rows).is_not_null() & ~is_missing).arg_true()
        column = cls.from_cells(
            rest.gather(special).to_list(), [lines[row] for row in rows.gather(special)], rule, keep=keep
        )
        column.missing = int(is_missing.sum())
        others = (numbers.gather(rows).is_null() & ~is_missing).arg_true()
        column._add_others(rest.gather(others), [lines[row] for row in rows.gather(others)], rule, keep=keep)
        plain = numbers.filter(is_plain).to_numpy()
        column.plain.add(plain, keep=keep)
        column.has_fractions = _have_fractions(plain)
        mostly_plain = len(plain) * 2 > len(cells) - column.missing
        column.uncounted = len(plain) if mostly_plain else 0
        values = rest.filter(~is_missing)
        if not mostly_plain and len(plain):
            values = values.append(stripped.filter(is_plain))
        column.values = _count_values(values)
        return column

    def _add_others(self, cells: pl.Series, lines: Sequence[int], rule: CellRule, *, keep: bool) -> None:
        """Add cells that are not plain numbers; cells that differ only in their digits are parsed once."""
        import polars as pl

        matching = cells.str.contains(f"^(?:{FORMATTED.pattern})$").arg_true()
        shapes = cells.gather(matching).str.replace_all("[1-9]", "1")
        shapes_by_key: dict[tuple[str, str, bool, bool], list[str]] = {}
        for shape in shapes.unique():
            if amount := rule.parse_formatted(shape):
                key = (amount.unit, amount.separator, amount.is_certain, math.copysign(1, amount.value) < 0)
                shapes_by_key.setdefault(key, []).append(shape)
        is_text = np.ones(len(cells), np.bool_)
        for (unit, separator, is_certain, is_negative), matches in shapes_by_key.items():
            rows = matching.filter(shapes.is_in(matches))
            is_text[rows.to_numpy()] = False
            digits = (
                cells.gather(rows)
                .str.replace_all(f"[^0-9{rule.decimal}]", "")
                .str.replace(rule.decimal, ".", literal=True)
            )
            values = digits.cast(pl.Float64).to_numpy()
            numbers = Numbers(certain=len(rows) if is_certain else 0)
            numbers.add(-values if is_negative else values, keep=keep)
            numbers.cells = _find_examples(cells, rows.to_numpy(), lines)
            self.formatted.setdefault((unit, separator), Numbers()).merge(numbers)
        self.texts.merge(_find_examples(cells, np.flatnonzero(is_text), lines))

    def merge(self, other: Column) -> None:
        """Add the column of the next block."""
        self.missing += other.missing
        self.plain.merge(other.plain)
        for key, numbers in other.formatted.items():
            self.formatted.setdefault(key, Numbers()).merge(numbers)
        self.not_finite.merge(other.not_finite)
        self.texts.merge(other.texts)
        self.uncounted += other.uncounted
        self.has_fractions |= other.has_fractions
        if self.values is None or other.values is None:
            self.values = None
        elif other.values:
            self.values.update(other.values)
            self.values = _limit(self.values)

    def finish(self) -> None:
        """Decide the format of the column's numbers; numbers in another format count as text."""
        totals: Counter[str] = Counter()
        for (unit, _), numbers in self.formatted.items():
            totals[unit] += numbers.moments.count
        unit = max(totals, key=lambda name: (totals[name], name), default="")
        separators = {key[1]: numbers for key, numbers in self.formatted.items() if key[0] == unit and key[1]}
        separator = max(separators, key=lambda mark: separators[mark].moments.count, default="")
        chosen = {(unit, ""), (unit, separator)} & self.formatted.keys()
        if unit and totals[unit] > self.plain.moments.count:
            self.texts.count += self.plain.moments.count
            self.plain = Numbers()
        elif unit or not self._is_consistent(separators.get(separator)):
            chosen = set()
        if chosen:
            self.unit, self.separator = unit, separator
        for key, numbers in self.formatted.items():
            if key in chosen:
                self.plain.merge(Numbers(numbers.moments, arrays=numbers.arrays))
            else:
                self.texts.merge(numbers.cells)
        self.formatted = {}

    def _is_consistent(self, grouped: Numbers | None) -> bool:
        """Return whether plain numbers fit numbers with a separator: not 1234 beside 1,234, nor 1,5 beside 1.000."""
        plain = self.plain.moments
        all_small = max(plain.maximum, -plain.minimum) < 1000
        return all_small and (grouped is None or grouped.certain > 0 or not self.has_fractions)

    @property
    def moments(self) -> Moments:
        """The moments of the column's numbers, after `finish`."""
        return self.plain.moments

    @property
    def is_numeric(self) -> bool:
        """Whether more than half of the values are numbers; a column of missing values only is not numeric."""
        return self.moments.count + self.not_finite.count > self.texts.count

    @cached_property
    def quartiles(self) -> tuple[float, float, float] | None:
        """The exact quartiles, interpolated linearly between neighbours; None where no numbers are kept."""
        values = np.concatenate([*self.plain.arrays, np.empty(0)])
        if not values.size:
            return None
        lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75])
        return float(lower), float(median), float(upper)

    def most_frequent(self, number: int = 3) -> list[tuple[str, int]]:
        """Return the values that occur most often, ties by value, with their counts."""
        return heapq.nsmallest(number, (self.values or {}).items(), key=lambda item: (-item[1], item[0]))


def _have_fractions(values: NDArray[np.float64]) -> bool:
    with np.errstate(invalid="ignore"):
        return bool((values[:1000] % 1).any() or (values[1000:] % 1).any())


def _find_examples(cells: pl.Series, rows: NDArray[np.integer[Any]], lines: Sequence[int]) -> Anomalies:
    return Anomalies(len(rows), [(lines[row], cells[int(row)]) for row in rows[:MAX_EXAMPLES]])


def _limit(values: Counter[str]) -> Counter[str] | None:
    if len(values) > MAX_DISTINCT or sum(map(len, values)) > MAX_DISTINCT_CHARACTERS:
        return None
    return values


def _count_values(values: pl.Series) -> Counter[str] | None:
    counts = values.alias("value").value_counts(name="count")
    if counts.height > MAX_DISTINCT:
        return None
    return _limit(Counter(dict(zip(counts["value"], counts["count"], strict=True))))


def _cast_to_float(stripped: pl.Series, rule: CellRule) -> pl.Series:
    """Return the cells as Float64, with null where a cell is not a plain number."""
    import polars as pl

    if rule.decimal == ",":
        with_point = stripped.str.contains(".", literal=True)
        stripped = stripped.str.replace_all(",", ".", literal=True).set(with_point, None)
    return stripped.cast(pl.Float64, strict=False)
