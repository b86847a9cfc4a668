"""Statistics of a CSV file of any size in one pass: blocks are summarized in parallel and merged in order.

Each block has one mergeable `Column` per column, made by one of two paths with the same result: in plain Python, for
small files and irregular rows, or in polars, which passes cells that are not plain finite numbers on as text.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from csv_blocks import UNCLOSED_QUOTE, Block, find_row_starts, iter_blocks, parse_records
from csv_dialect import FORMATTED, WHITESPACE, YEAR, CellRule, Dialect, Options, guess_dialect
from csv_source import BLOCK_BYTES, SAMPLE_BYTES, CsvSource, open_csv, reject_markup
from errors import InputError, count_noun
from moments import Moments

if TYPE_CHECKING:
    import polars as pl

MAX_EXAMPLES = 5
LAST_ROWS = 5  # in which totals and notes are searched
MAX_DISTINCT = 20_000
MAX_DISTINCT_CHARACTERS = 4_000_000
MAX_BLOCKS = 3  # summarized at a time, while another is read; polars spreads each over the cores
POLARS_MIN_BYTES = 1 << 17  # for less, importing polars takes longer than it saves
PLAIN = ("", "")  # neither unit nor separator of thousands
LEADING_ZERO = re.compile(r"0[0-9]+")
TOTAL_OR_NOTE = re.compile(
    r"(?:grand |sub)?totals?|sums?|summe|gesamt|suma|mean|average|media|promedio"
    r"|(?:source|note|quelle|fuente|nota)s?:.*",
    re.IGNORECASE,
)


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

    def add(self, values: NDArray[np.float64]) -> None:
        """Add finite numbers."""
        self.moments = self.moments.merge(Moments.from_array(values))
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

    Numbers are collected by unit and separator of thousands until `finish` decides whether the column is consistent.
    `values` counts the distinct values, except for `uncounted` plain numbers of blocks that are mostly numbers; it is
    None where there are more than MAX_DISTINCT, or MAX_DISTINCT_CHARACTERS in them.
    """

    name: str = ""
    number: int = 1
    missing: int = 0
    formats: defaultdict[tuple[str, str], Numbers] = field(default_factory=lambda: defaultdict(Numbers))
    not_finite: Anomalies = field(default_factory=Anomalies)
    texts: Anomalies = field(default_factory=Anomalies)
    values: Counter[str] | None = field(default_factory=Counter)
    uncounted: int = 0
    has_fractions: bool = False
    has_other_decimals: bool = False
    has_leading_zeros: bool = False
    unit: str = ""
    separator: str = ""

    @classmethod
    def from_cells(cls, cells: Iterable[str], lines: Iterable[int], rule: CellRule) -> Column:
        """Return the column of these cells; `lines` has the line of each."""
        column = cls()
        amounts: dict[tuple[str, str], list[float]] = {PLAIN: []}
        plain_values: Counter[str] = Counter()
        others: Counter[str] = Counter()
        for padded, line in zip(cells, lines, strict=True):
            cell = padded.strip(WHITESPACE)
            if rule.is_missing(cell):
                column.missing += 1
                continue
            number = rule.parse_number(cell)
            if number is not None and math.isfinite(number):
                plain_values[cell] += 1
                amounts[PLAIN].append(number)
                continue
            others[cell] += 1
            if number is not None:
                column.not_finite.add(line, cell)
            elif (amount := rule.parse_formatted(cell)) is not None:
                key = (amount.unit, amount.separator)
                column.formats[key].cells.add(line, cell)
                column.formats[key].certain += amount.is_certain
                amounts.setdefault(key, []).append(amount.value)
            else:
                column.texts.add(line, cell)
                column.has_other_decimals |= rule.has_other_decimals(cell)
        for key, numbers in amounts.items():
            column.formats[key].add(np.array(numbers, np.float64))
        column.has_fractions = _have_fractions(amounts[PLAIN])
        if plain_values.total() > others.total():
            column.uncounted = plain_values.total()
        else:
            others.update(plain_values)
        column.values = _limit(others)
        return column

    @classmethod
    def from_series(cls, cells: pl.Series, lines: Sequence[int], rule: CellRule) -> Column:
        """Return the column of a polars series of strings; `lines` has the line of each row."""
        import polars as pl

        stripped = with_point = cells.str.strip_chars(WHITESPACE)
        if rule.decimal == ",":  # a cell with a point is not a plain number
            has_point = stripped.str.contains(".", literal=True)
            with_point = stripped.str.replace_all(",", ".", literal=True).set(has_point, None)
        numbers = with_point.cast(pl.Float64, strict=False)
        is_plain = numbers.is_finite().fill_null(value=False)
        if rule.has_numeric_na:
            is_plain &= ~stripped.str.to_lowercase().is_in([*rule.na_words])
        rows = (~is_plain).arg_true()
        rest, is_text = stripped.gather(rows), numbers.gather(rows).is_null()
        is_missing = rest.str.to_lowercase().is_in([*rule.na_words])
        special = (~is_text & ~is_missing).arg_true()
        column = cls.from_cells(rest.gather(special), [lines[row] for row in rows.gather(special)], rule)
        column.missing = int(is_missing.sum())
        others = (is_text & ~is_missing).arg_true()
        column._add_others(rest.gather(others), rows.gather(others), lines, rule)
        plain = numbers.filter(is_plain).to_numpy()
        column.formats[PLAIN].add(plain)
        column.has_fractions = _have_fractions(plain)
        values = rest.filter(~is_missing)
        if len(plain) > len(values):
            column.uncounted = len(plain)
        elif len(plain):
            values = values.append(stripped.filter(is_plain))
        counts = values.alias("value").value_counts(name="count")
        column.values = _limit(Counter(dict(counts.iter_rows()))) if counts.height <= MAX_DISTINCT else None
        return column

    def _add_others(self, cells: pl.Series, rows: pl.Series, lines: Sequence[int], rule: CellRule) -> None:
        """Add cells that are not plain numbers; cells that differ only in their digits are parsed once."""
        import polars as pl

        def find_examples(indices: pl.Series) -> Anomalies:
            return Anomalies(len(indices), [(lines[rows[i]], cells[i]) for i in indices[:MAX_EXAMPLES]])

        matching = cells.str.contains(f"^(?:{FORMATTED.pattern})$")
        indices = matching.arg_true()
        shapes = cells.gather(indices).str.replace_all("[1-9]", "1")
        kinds = {
            shape: amount._replace(value=math.copysign(1, amount.value))
            for shape in shapes.unique()
            if (amount := rule.parse_formatted(shape))
        }
        for kind in sorted(set(kinds.values())):
            found = indices.filter(shapes.is_in([shape for shape in kinds if kinds[shape] == kind]))
            digits = cells.gather(found).str.replace_all(f"[^0-9{rule.decimal}]", "")
            digits = digits.str.replace(rule.decimal, ".", literal=True)
            numbers = Numbers(cells=find_examples(found), certain=len(found) * kind.is_certain)
            numbers.add(digits.cast(pl.Float64).to_numpy() * kind.value)
            self.formats[kind.unit, kind.separator].merge(numbers)
        is_text = ~shapes.is_in([*kinds])
        self.has_other_decimals = any(map(rule.has_other_decimals, shapes.filter(is_text).unique()))
        self.texts.merge(find_examples((~matching).arg_true().append(indices.filter(is_text)).sort()))

    def merge(self, other: Column) -> None:
        """Add the column of the next block."""
        self.missing += other.missing
        for key, numbers in other.formats.items():
            self.formats[key].merge(numbers)
        self.not_finite.merge(other.not_finite)
        self.texts.merge(other.texts)
        self.uncounted += other.uncounted
        self.has_fractions |= other.has_fractions
        self.has_other_decimals |= other.has_other_decimals
        if self.values is None or other.values is None:
            self.values = None
        elif other.values:
            self.values.update(other.values)
            self.values = _limit(self.values)

    def finish(self) -> None:
        """Decide the format of the column's numbers; numbers in another format count as text."""
        plain = self.formats.pop(PLAIN, Numbers())
        totals: Counter[str] = Counter()
        for (unit, _), numbers in self.formats.items():
            totals[unit] += numbers.moments.count
        unit = max(totals, key=lambda name: (totals[name], name), default="")
        separators = {key[1]: numbers for key, numbers in self.formats.items() if key[0] == unit and key[1]}
        separator = max(separators, key=lambda mark: (separators[mark].moments.count, mark), default="")
        if separator and self.has_other_decimals and not separators[separator].certain:
            separator = ""  # 6.745 beside 16.17 is not 6745
        chosen = {(unit, ""), (unit, separator)} & self.formats.keys()
        is_large = max(plain.moments.maximum, -plain.moments.minimum) >= 1000  # 1234 beside 1,234
        is_mixed = separator == "." and self.has_fractions and not separators[separator].certain  # 1,5 beside 1.000
        if unit and totals[unit] > plain.moments.count:
            self.texts.count += plain.moments.count
            plain = Numbers()
        elif unit or is_large or is_mixed:
            chosen = set()
        if chosen:
            self.unit, self.separator = unit, separator
        for key, numbers in self.formats.items():
            if key in chosen:
                plain.merge(replace(numbers, cells=Anomalies()))
            else:
                self.texts.merge(numbers.cells)
        self.formats = defaultdict(Numbers, {PLAIN: plain})

    @property
    def moments(self) -> Moments:
        """The moments of the column's numbers, after `finish`."""
        return self.formats[PLAIN].moments

    @property
    def is_numeric(self) -> bool:
        """Whether more than half of the values are numbers; a column of missing values only is not numeric."""
        numbers = self.moments.count or self.not_finite.count * (not self.texts.count)
        return numbers > self.texts.count

    @property
    def quartiles(self) -> list[float | None]:
        """The exact quartiles, interpolated linearly between neighbours; None where no numbers are kept."""
        arrays = [array for array in self.formats[PLAIN].arrays if array.size]
        return np.quantile(np.concatenate(arrays), [0.25, 0.5, 0.75]).tolist() if arrays else [None] * 3


def _have_fractions(values: Any) -> bool:
    with np.errstate(invalid="ignore"):
        return any(bool(np.any(np.mod(part, 1))) for part in (values[:1000], values[1000:]))


def _limit(values: Counter[str]) -> Counter[str] | None:
    is_short = len(values) <= MAX_DISTINCT and sum(map(len, values)) <= MAX_DISTINCT_CHARACTERS
    return values if is_short else None


@dataclass
class CsvStatistics:
    """The content of a block or of a complete file; `columns` are the selected ones, `names` those of all columns."""

    columns: list[Column] = field(default_factory=list)
    rows: int = 0
    blank_lines: int = 0
    short_rows: Anomalies = field(default_factory=Anomalies)
    long_rows: Anomalies = field(default_factory=Anomalies)
    total_rows: Anomalies = field(default_factory=Anomalies)
    path: Path = Path()
    options: Options = field(default_factory=Options)
    encoding: str = ""
    dialect: Dialect = field(default_factory=lambda: Dialect(","))
    names: Sequence[str] = ()
    header_looks_like_data: bool = False

    @property
    def numeric_columns(self) -> list[Column]:
        """The columns of numbers."""
        return [column for column in self.columns if column.is_numeric]

    def merge(self, block: CsvStatistics) -> None:
        """Add the next block."""
        self.rows += block.rows
        self.blank_lines += block.blank_lines
        self.short_rows.merge(block.short_rows)
        self.long_rows.merge(block.long_rows)
        if block.rows >= LAST_ROWS:  # the rows of earlier blocks are not at the end of the file
            self.total_rows = Anomalies()
        self.total_rows.merge(block.total_rows)
        for column, next_column in zip(self.columns, block.columns, strict=True):
            column.merge(next_column)


@dataclass(frozen=True)
class BlockReader:
    """Summarizes blocks: the delimiter, the number of columns, the selected ones, and how cells are read."""

    delimiter: str
    width: int
    selected: Sequence[int]
    rule: CellRule
    keep_numbers: bool

    def summarize_all(self, blocks: Iterator[Block]) -> Iterator[CsvStatistics]:
        """Yield the statistics of each block, in the order of the file, a few at a time."""
        pending: deque[Future[CsvStatistics]] = deque()
        with ThreadPoolExecutor(MAX_BLOCKS) as pool:
            for block in blocks:
                pending.append(pool.submit(self.summarize, block))
                if len(pending) > MAX_BLOCKS:
                    yield pending.popleft().result()
            yield from (future.result() for future in pending)

    def summarize(self, block: Block) -> CsvStatistics:
        """Return the statistics of a block, by polars where its rows are regular, else by the csv module."""
        is_regular = block.is_regular and len(block.text) >= POLARS_MIN_BYTES
        summary = (self._summarize_regular(block) if is_regular else None) or self._summarize_any(block)
        self._find_total_row(block, summary)
        if not self.keep_numbers:
            for numbers in chain.from_iterable(column.formats.values() for column in summary.columns):
                numbers.arrays.clear()
        return summary

    def _summarize_any(self, block: Block) -> CsvStatistics:
        """Summarize any records. Short rows have missing values; extra cells of long rows are ignored."""
        summary = CsvStatistics()
        records = parse_records(block.text, block.first_line, self.delimiter)
        starts, rows = [], []
        for start, cells in zip(records.starts, records.cells, strict=True):
            if not cells or (len(cells) == 1 < self.width and not cells[0].strip(WHITESPACE)):
                summary.blank_lines += 1
                continue
            if len(cells) < self.width:
                summary.short_rows.add(start, count_noun(len(cells), "cell"))
            elif any(cells[self.width :]):
                summary.long_rows.add(start, f"{len(cells)} cells")
            starts.append(start)
            rows.append(cells + [""] * (self.width - len(cells)))
        summary.rows = len(rows)
        summary.columns = [Column.from_cells([row[at] for row in rows], starts, self.rule) for at in self.selected]
        return summary

    def _summarize_regular(self, block: Block) -> CsvStatistics | None:
        """Summarize a block by polars; None where polars may read it differently from the csv module."""
        import polars as pl

        starts = find_row_starts(block, self.delimiter, self.width)
        if starts is None:
            return None
        types = self._guess_types(block)
        try:
            frame = self._read_frame(block, types)
            if frame.height != len(starts):
                return None
            columns = {index: self._summarize_clean(frame[_polars_name(index)]) for index in self.selected}
            unread = [index for index, column in columns.items() if column is None and types[index] != pl.String]
            if unread:
                frame = frame.with_columns(self._read_frame(block, dict.fromkeys(unread, pl.String)))
        except pl.exceptions.PolarsError:
            return None
        for index, column in columns.items():
            columns[index] = column or Column.from_series(frame[_polars_name(index)], starts, self.rule)
        return CsvStatistics([column for column in columns.values() if column], len(starts))

    def _read_frame(self, block: Block, types: dict[int, type[pl.DataType]]) -> pl.DataFrame:
        import polars as pl

        return pl.read_csv(
            block.text,
            has_header=False,
            schema={_polars_name(index): types.get(index, pl.String) for index in range(self.width)},
            columns=[_polars_name(index) for index in types],
            separator=self.delimiter,
            empty_string_is_null=False,
            ignore_errors=True,
            extra_columns="raise",
            decimal_comma=self.rule.decimal == ",",
        )

    def _guess_types(self, block: Block) -> dict[int, type[pl.DataType]]:
        """Return the type of each selected column, from the first rows of the block."""
        import polars as pl

        head = parse_records(block.text, block.first_line, self.delimiter, limit=10).cells
        types: dict[int, type[pl.DataType]] = dict.fromkeys(self.selected, pl.String)
        if self.rule.has_numeric_na or (self.rule.decimal == "," and b"." in block.text):
            return types  # polars would read a missing value as a number, or accept a point, too
        for index in self.selected:
            cells = [cell for row in head if index < len(row) and (cell := row[index].strip(WHITESPACE))]
            numbers = sum(self.rule.parse_number(cell) is not None for cell in cells)
            if numbers * 2 > len(cells):
                types[index] = pl.Int64 if all(cell.lstrip("-").isdecimal() for cell in cells) else pl.Float64
        return types

    def _summarize_clean(self, cells: pl.Series) -> Column | None:
        """Summarize a column of finite numbers; None where a cell is text, missing or not finite."""
        if not cells.dtype.is_numeric() or cells.null_count():
            return None
        values = cells.to_numpy().astype(np.float64, copy=False)
        column = Column(uncounted=len(values), has_fractions=cells.dtype.is_float() and _have_fractions(values))
        column.formats[PLAIN].add(values)
        moments = column.moments
        return column if math.isfinite(moments.minimum) and math.isfinite(moments.maximum) else None

    def _find_total_row(self, block: Block, summary: CsvStatistics) -> None:
        """Record one of the last rows that looks like a total of the others, or like a note below a blank line."""
        last_lines = block.text[-5000:].decode(errors="replace").split("\n")[-LAST_ROWS - 1 : -1]
        is_below_blank = last_lines.count("") == 1 and [bool(text) for text in last_lines[-3:]] == [True, False, True]
        for line, text in enumerate(last_lines, -len(last_lines)):
            first_cell = text.split(self.delimiter)[0].strip(' \t":')
            if TOTAL_OR_NOTE.fullmatch(first_cell) or (is_below_blank and line == -1):
                summary.total_rows.add(block.first_line + block.line_count + line, first_cell)


def _polars_name(index: int) -> str:
    return f"column_{index + 1}"  # the names that polars expects where there is no header


def compute_statistics(path: Path, options: Options | None = None) -> CsvStatistics:
    """Read a CSV file, or standard input for `-`, once from start to end.

    Raises:
        InputError: The file cannot be read, is not a CSV file, holds no data, or can be read in two ways.
    """
    options = options or Options()
    with open_csv(path) as stream:
        return _compute(path, CsvSource(stream, options.encoding), options)


def _compute(path: Path, source: CsvSource, options: Options) -> CsvStatistics:
    lines = source.iter_lines()
    text = source.to_utf8(next(lines, b""), 1)
    reject_markup(text[:SAMPLE_BYTES])
    sample_end = text.rfind(b"\n", 0, SAMPLE_BYTES) + 1 or len(text)
    sample = text[:sample_end]
    dialect = guess_dialect(sample.decode(), options, complete=sample_end == len(text))
    start = len(text) - len(text.split(b"\n", dialect.header_line - 1)[-1])
    head = parse_records(text[start:], dialect.header_line, dialect.delimiter, limit=1)
    if not head.cells:
        raise InputError(None, *UNCLOSED_QUOTE, dialect.header_line)
    rule = CellRule(dialect.decimal, dialect.grouping, options.na_values)
    names = [cell.strip(WHITESPACE) if options.header else "" for cell in head.cells[0]]
    unnamed = [""] * (dialect.width - len(names) if dialect.unnamed else 0)
    names = [*unnamed, *names] if dialect.unnamed == "first" else [*names, *unnamed]
    line = dialect.header_line
    if options.header:
        start, line = start + head.length, head.next_line
    selected = _select(names, options.columns)
    statistics = CsvStatistics(
        [Column(names[index], index + 1) for index in selected],
        path=path,
        options=options,
        dialect=dialect,
        names=names,
        blank_lines=dialect.blank_lines,
    )
    rows = parse_records(sample[start:], line, dialect.delimiter, limit=1000).cells
    samples = [[row[index].strip(WHITESPACE) for row in rows if index < len(row)] for index in selected]
    if not all(any(rule.parse_number(cell) is not None for cell in cells) for cells in samples):
        source.block_bytes = (source.block_bytes + 1) // 2  # text takes more memory than numbers
    reader = BlockReader(dialect.delimiter, len(names), selected, rule, options.quartiles)
    blocks = iter_blocks(source, lines, text[start:], line, dialect.delimiter)
    summaries: Iterable[CsvStatistics] = reader.summarize_all(blocks)
    total = path.stat().st_size // BLOCK_BYTES if path.is_file() else 0
    if total > 3:  # show a bar on the terminal after two seconds
        from tqdm import tqdm

        unit = f" blocks of {BLOCK_BYTES >> 20} MiB"
        summaries = tqdm(summaries, total=total, unit=unit, delay=2, leave=False, disable=None)
    for summary in summaries:
        statistics.merge(summary)
    statistics.encoding = source.encoding
    for column, cells in zip(statistics.columns, samples, strict=True):
        column.has_leading_zeros = any(map(LEADING_ZERO.fullmatch, cells))
        column.finish()
    statistics.header_looks_like_data = _looks_like_data(statistics, rule)
    return statistics


def _looks_like_data(statistics: CsvStatistics, rule: CellRule) -> bool:
    """Return whether the header is a row of numbers, or most numeric columns have a number as their name.

    Years and more than two numbers in ascending order, as in `country,1,2,3`, are names.
    """
    if all(rule.parse_number(name) is not None for name in statistics.names):
        return True
    columns = statistics.numeric_columns
    numbers = {column.name: number for column in columns if (number := rule.parse_number(column.name)) is not None}
    is_ascending = len(numbers) > 2 and all(a < b for a, b in pairwise(numbers.values()))
    return len(numbers) * 2 > len(columns) and not is_ascending and not all(map(YEAR.fullmatch, numbers))


def _select(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the indices of the columns that are named, or numbered from 1; of all where none are."""
    selected: set[int] = set()
    for word in wanted:
        for part in [word] if word in names else map(str.strip, word.split(",")):
            found = [index for index, name in enumerate(names) if name == part]
            if not found and part.isdecimal() and 1 <= int(part) <= len(names):
                found = [int(part) - 1]
            if not found:
                raise InputError(None, f'no column "{part}"', f"it has {', '.join(names[:20])}")
            selected.update(found)
    return sorted(selected) if wanted else list(range(len(names)))
