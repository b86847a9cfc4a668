"""Statistics of a CSV file of any size in one pass: blocks are summarized in parallel and merged in order."""

import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from csv_blocks import Block, find_row_starts, iter_blocks, parse_records, unclosed_quote
from csv_columns import Anomalies, Column
from csv_dialect import NA_VALUES, WHITESPACE, CellRule, Dialect, guess_dialect
from csv_source import SAMPLE_BYTES, CsvSource, open_csv, reject_markup
from errors import InputError
from progress import byte_progress

if TYPE_CHECKING:
    import polars as pl

MAX_BLOCKS = 3  # summarized at a time, while another is read; polars spreads each over the cores
POLARS_MIN_BYTES = 1 << 17  # for less, importing polars takes longer than it saves
LEADING_ZERO = re.compile(r"0[0-9]+")
TOTAL = re.compile(r"(?:grand |sub)?totals?|sums?|summe|gesamt|suma|mean|average|media|promedio", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """The user's choices; None means to guess. `columns` are names, or numbers from 1."""

    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    header: bool = True
    na_values: Sequence[str] = NA_VALUES
    columns: Sequence[str] = ()
    quartiles: bool = False


@dataclass
class Summary:
    """Rows and columns of a block, or of several."""

    columns: list[Column]
    rows: int = 0
    blank_lines: int = 0
    short_rows: Anomalies = field(default_factory=Anomalies)
    long_rows: Anomalies = field(default_factory=Anomalies)
    total_rows: Anomalies = field(default_factory=Anomalies)

    def merge(self, other: "Summary") -> None:
        """Add the next block."""
        self.rows += other.rows
        self.blank_lines += other.blank_lines
        self.short_rows.merge(other.short_rows)
        self.long_rows.merge(other.long_rows)
        self.total_rows.merge(other.total_rows)
        for column, next_column in zip(self.columns, other.columns, strict=True):
            column.merge(next_column)


@dataclass
class CsvStatistics(Summary):
    """The content of a CSV file. `columns` are the selected ones, `names` those of all columns."""

    path: Path = Path()
    encoding: str = ""
    dialect: Dialect = field(default_factory=lambda: Dialect(","))
    names: Sequence[str] = ()
    header_looks_like_data: bool = False

    @property
    def numeric_columns(self) -> list[Column]:
        """The columns of numbers."""
        return [column for column in self.columns if column.is_numeric]


@dataclass(frozen=True)
class BlockReader:
    """Summarizes blocks: the delimiter, the number of columns, the selected ones, and how cells are read."""

    delimiter: str
    width: int
    selected: Sequence[int]
    rule: CellRule
    keep: bool

    def summarize(self, block: Block) -> Summary:
        """Return the summary of a block, by polars where its rows are regular, else by the csv module."""
        summary = None
        if block.is_regular and len(block.text) >= POLARS_MIN_BYTES:
            summary = self._summarize_regular(block)
        if summary is None:
            summary = self._summarize_any(block)
        self._find_total_row(block, summary)
        return summary

    def _summarize_any(self, block: Block) -> Summary:
        """Summarize any records. Short rows have missing values; extra cells of long rows are ignored."""
        summary = Summary([])
        records = parse_records(block.text, block.first_line, self.delimiter)
        starts, rows = [], []
        for start, cells in zip(records.starts, records.cells, strict=True):
            if not cells or (len(cells) == 1 < self.width and not cells[0].strip(WHITESPACE)):
                summary.blank_lines += 1
                continue
            if len(cells) < self.width:
                summary.short_rows.add(start, f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}")
            elif any(cells[self.width :]):
                summary.long_rows.add(start, f"{len(cells)} cells")
            starts.append(start)
            rows.append(cells + [""] * (self.width - len(cells)))
        summary.rows = len(rows)
        summary.columns = [
            Column.from_cells([row[index] for row in rows], starts, self.rule, keep=self.keep)
            for index in self.selected
        ]
        return summary

    def _summarize_regular(self, block: Block) -> Summary | None:
        """Summarize a block by polars; None where polars may read it differently from the csv module."""
        import polars as pl

        starts = find_row_starts(block, self.delimiter, self.width)
        if starts is None:
            return None
        types = dict(zip(self.selected, self._guess_types(block), strict=True))
        try:
            frame = self._read_frame(block, types)
            if frame.height != len(starts):
                return None
            columns = {index: self._summarize_clean(frame[_polars_name(index)]) for index in self.selected}
            unclean = [index for index, column in columns.items() if column is None]
            unread = [index for index in unclean if types[index] != pl.String]
            if unread:
                frame = frame.with_columns(self._read_frame(block, dict.fromkeys(unread, pl.String)))
        except pl.exceptions.PolarsError:
            return None
        return Summary(
            [
                columns[index] or Column.from_series(frame[_polars_name(index)], starts, self.rule, keep=self.keep)
                for index in self.selected
            ],
            len(starts),
        )

    def _read_frame(self, block: Block, types: "dict[int, type[pl.DataType]]") -> "pl.DataFrame":
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

    def _guess_types(self, block: Block) -> "list[type[pl.DataType]]":
        """Return the type of each selected column, from the first rows of the block."""
        import polars as pl

        head = parse_records(block.text, block.first_line, self.delimiter, limit=50).cells
        if self.rule.decimal == "," and b"." in block.text:  # polars would accept a point, too
            return [pl.String] * len(self.selected)
        types: list[type[pl.DataType]] = []
        for index in self.selected:
            cells = [cell for row in head if index < len(row) and (cell := row[index].strip(WHITESPACE))]
            numbers = sum(self.rule.parse_number(cell) is not None for cell in cells)
            if numbers * 2 <= len(cells):
                types.append(pl.String)
            else:
                types.append(pl.Int64 if all(cell.lstrip("-").isdecimal() for cell in cells) else pl.Float64)
        return types

    def _summarize_clean(self, cells: "pl.Series") -> Column | None:
        """Summarize a column of finite numbers; None where a cell is text, missing or not finite."""
        if not cells.dtype.is_numeric() or cells.null_count():
            return None
        values = cells.to_numpy().astype(np.float64, copy=False)
        column = Column.from_numbers(values, are_integers=cells.dtype.is_integer(), keep=self.keep)
        is_finite = math.isfinite(column.moments.minimum) and math.isfinite(column.moments.maximum)
        return column if is_finite else None

    def _find_total_row(self, block: Block, summary: Summary) -> None:
        """Record a row among the last five that looks like a total of the others."""
        last_lines = block.text[-5000:].decode(errors="replace").split("\n")[-6:-1]
        for line, text in enumerate(last_lines, -len(last_lines)):
            first_cell = text.split(self.delimiter)[0].strip(' \t":')
            if TOTAL.fullmatch(first_cell):
                summary.total_rows.add(block.first_line + block.line_count + line, first_cell)


def _polars_name(index: int) -> str:
    return f"column_{index + 1}"  # the names that polars expects where there is no header


def compute_statistics(path: Path, options: Options = Options()) -> CsvStatistics:
    """Read a CSV file, or standard input for `-`, once from start to end.

    Raises:
        InputError: The file cannot be read, is not a CSV file, holds no data, or can be read in two ways.

    """
    try:
        with open_csv(path) as (stream, raw), byte_progress(path, raw) as update:
            return _compute(path, CsvSource(stream, options.encoding), options, update)
    except InputError as error:
        error.path = error.path or path
        raise


def _compute(path: Path, source: CsvSource, options: Options, update_progress: Callable[[], object]) -> CsvStatistics:
    lines = source.iter_lines()
    text = source.to_utf8(next(lines, b""), 1)
    reject_markup(text[:SAMPLE_BYTES])
    sample_end = text.rfind(b"\n", 0, SAMPLE_BYTES) + 1 or len(text)
    sample = text[:sample_end].decode()
    dialect = guess_dialect(sample, options.delimiter, options.decimal, complete=sample_end == len(text))
    start = 0
    for _ in range(dialect.header_line - 1):
        start = text.index(b"\n", start) + 1
    head = parse_records(text[start:], dialect.header_line, dialect.delimiter, limit=1)
    if not head.cells:
        raise unclosed_quote(dialect.header_line)
    rule = CellRule(dialect.decimal, dialect.grouping, options.na_values)
    names, looks_like_data = _name_columns(head.cells[0], dialect, rule, header=options.header)
    line = dialect.header_line
    if options.header:
        start, line = start + head.length, head.next_line
    selected = _select(names, options.columns)
    statistics = CsvStatistics(
        [Column(names[index], index + 1) for index in selected],
        path=path,
        dialect=dialect,
        names=names,
        blank_lines=dialect.blank_lines,
        header_looks_like_data=looks_like_data,
    )
    reader = BlockReader(dialect.delimiter, len(names), selected, rule, options.quartiles)
    for summary in _summarize_all(iter_blocks(source, lines, text[start:], line, dialect.delimiter), reader):
        statistics.merge(summary)
        update_progress()
    statistics.encoding = source.encoding
    _mark_codes(statistics, sample, selected)
    for column in statistics.columns:
        column.finish()
    return statistics


def _name_columns(cells: list[str], dialect: Dialect, rule: CellRule, *, header: bool) -> tuple[list[str], bool]:
    """Return the names of the columns, and whether the header looks like data."""
    names = [cell.strip(WHITESPACE) for cell in cells]
    looks_like_data = header and all(rule.parse_number(name) is not None for name in names)
    unnamed = [""] * (dialect.width - len(names) if dialect.unnamed else 0)
    names = [*unnamed, *names] if dialect.unnamed == "first" else [*names, *unnamed]
    return names if header else [""] * len(names), looks_like_data


def _select(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the indices of the columns that are named, or numbered from 1; of all where none are.

    Raises:
        InputError: A column that the file does not have.

    """
    if not wanted:
        return list(range(len(names)))
    selected: set[int] = set()
    for word in wanted:
        parts = [word] if word in names else [part.strip() for part in word.split(",")]
        for part in parts:
            found = [index for index, name in enumerate(names) if name == part]
            if not found and part.isdecimal() and 1 <= int(part) <= len(names):
                found = [int(part) - 1]
            if not found:
                raise InputError(None, f'no column "{part}"', f"it has {', '.join(names[:20])}")
            selected.update(found)
    return sorted(selected)


def _mark_codes(statistics: CsvStatistics, sample: str, selected: Sequence[int]) -> None:
    """Mark the columns whose first cells have leading zeros: they may be codes."""
    dialect = statistics.dialect
    records = parse_records(sample.encode(), 1, dialect.delimiter, limit=1000)
    rows = [cells for start, cells in zip(records.starts, records.cells, strict=True) if start > dialect.header_line]
    for column, index in zip(statistics.columns, selected, strict=True):
        column.has_leading_zeros = any(
            index < len(row) and bool(LEADING_ZERO.fullmatch(row[index].strip(WHITESPACE))) for row in rows
        )


def _summarize_all(blocks: Iterator[Block], reader: BlockReader) -> Iterator[Summary]:
    """Yield the summary of each block, in the order of the file, a few at a time."""
    pending: deque[Future[Summary]] = deque()
    with ThreadPoolExecutor(MAX_BLOCKS) as pool:
        for block in blocks:
            pending.append(pool.submit(reader.summarize, block))
            if len(pending) > MAX_BLOCKS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
