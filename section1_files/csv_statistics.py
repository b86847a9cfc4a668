"""Statistics of a CSV file of any size, in memory that does not grow with it."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from csv_cells import BLANKS, MISSING_TOKENS, CellRule
from csv_columns import Column, Findings
from csv_dialect import Dialect, guess_dialect, records_of
from csv_parts import Kind, Layout, Part, part_of, part_of_records
from csv_reading import Block, Records, blocks_of, first_record
from csv_text import SAMPLE_SIZE, LineStream, NotUtf8Error, guess_encoding, line_stream, opened, whole_line
from errors import InputError, printable
from progress import Progress

WORKERS = 3  # blocks at work at a time, beside the one that is read; polars spreads each over the cores


@dataclass(frozen=True)
class Options:
    """What overrules the guesses; None leaves a guess to be made."""

    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    header: bool = True
    missing: Sequence[str] = MISSING_TOKENS


@dataclass
class CsvStatistics:
    """What a CSV file holds."""

    path: Path
    encoding: str
    dialect: Dialect
    columns: list[Column]
    rows: int = 0
    blank_lines: int = 0
    short_rows: Findings = field(default_factory=Findings)
    long_rows: Findings = field(default_factory=Findings)
    header_is_numbers: bool = False

    def add(self, part: Part) -> None:
        """Take in the next part of the file."""
        self.rows += part.rows
        self.blank_lines += part.blank_lines
        self.short_rows.extend(part.short_rows)
        self.long_rows.extend(part.long_rows)
        for column, column_part in zip(self.columns, part.columns, strict=True):
            column.add(column_part)

    @property
    def numeric_columns(self) -> list[Column]:
        """The columns of numbers."""
        return [column for column in self.columns if column.is_numeric]


def statistics_of(path: Path, options: Options = Options()) -> CsvStatistics:
    """Read a CSV file once, or once more where its start misled a guess (its encoding, a column's kind).

    Raises:
        InputError: the file cannot be read, is not a CSV file or holds no data; the message names path and line.

    """
    shown = printable(str(path))
    try:
        with opened(path) as (stream, raw):
            sample = stream.read(SAMPLE_SIZE)
            if not sample:
                raise InputError("is empty; fetch or export it again")
            encoding = options.encoding or guess_encoding(sample)
            try:
                return _settled_statistics(path, stream, raw, sample, encoding, options)
            except NotUtf8Error as error:
                if options.encoding:
                    raise _encoding_error(error.line, error.byte, encoding) from error
                return _settled_statistics(path, stream, raw, sample, "latin-1", options)
    except UnicodeError as error:
        raise InputError(f"{shown}: is not in the encoding {encoding}; name the right one with --encoding") from error
    except LookupError as error:
        raise InputError(
            f"{shown}: {options.encoding} is no encoding that Python knows; try utf-8 or latin-1"
        ) from error
    except InputError as error:
        raise error if str(error).startswith(shown) else InputError(f"{shown}: {error}") from error


def _encoding_error(line: int, byte: int, encoding: str) -> InputError:
    return InputError(f"line {line:,}: byte 0x{byte:02X} is not {encoding}; name the encoding with --encoding")


def _settled_statistics(
    path: Path, stream: BinaryIO, raw: BinaryIO, sample: bytes, encoding: str, options: Options
) -> CsvStatistics:
    """Read with the kinds of columns that the sample suggests, and again where the whole file says otherwise."""
    text = _sample_text(sample, encoding)
    dialect = guess_dialect(text, options.delimiter, options.decimal)
    rule = CellRule(dialect.decimal, options.missing)
    if dialect.hint:
        text = text.partition("\n")[2]
    kinds: list[Kind] | None = None
    while True:
        with Progress(path, raw) as progress, line_stream(stream, sample, encoding) as lines:
            statistics = CsvStatistics(path, encoding, dialect, [])
            _read_all(statistics, lines, rule, kinds, text, options, progress)
        if all(column.as_text != column.is_numeric for column in statistics.columns):
            return statistics
        kinds = [Kind.NUMBER if column.is_numeric else Kind.TEXT for column in statistics.columns]


def _sample_text(sample: bytes, encoding: str) -> str:
    """The sample's whole lines; a character cut in two at its end is left out."""
    text = sample.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines[: lines.rfind("\n") + 1] if len(sample) == SAMPLE_SIZE and "\n" in lines else lines


def _read_all(
    statistics: CsvStatistics,
    lines: LineStream,
    rule: CellRule,
    kinds: list[Kind] | None,
    sample: str,
    options: Options,
    progress: Progress,
) -> None:
    delimiter = statistics.dialect.delimiter
    first_line = 1
    if statistics.dialect.hint:
        whole_line(lines, first_line)
        first_line += 1
    head, statistics.blank_lines = first_record(lines, delimiter, first_line)
    statistics.header_is_numbers = options.header and all(
        rule.number(cell.strip(BLANKS)) is not None for cell in head.cells[0]
    )
    names = [name.strip(BLANKS) for name in head.cells[0]] if options.header else [""] * len(head.cells[0])
    layout = Layout(delimiter, rule, kinds or _kinds_in(sample, delimiter, rule, len(names), header=options.header))
    statistics.columns = [Column(name, kind is Kind.TEXT) for name, kind in zip(names, layout.kinds, strict=True)]
    if not options.header:
        statistics.add(part_of_records(head, layout))
    for part in _parts(blocks_of(lines, head.next_line, delimiter), layout):
        statistics.add(part)
        progress.update()


def _kinds_in(sample: str, delimiter: str, rule: CellRule, width: int, *, header: bool) -> list[Kind]:
    """What each column looks like in the sample."""
    rows = [cells for cells in records_of(sample, delimiter) if len(cells) == width][1 if header else 0 :]
    return [_kind_of([row[number].strip(BLANKS) for row in rows], rule) for number in range(width)]


def _kind_of(cells: list[str], rule: CellRule) -> Kind:
    present = [cell for cell in cells if not rule.is_missing(cell)]
    if sum(rule.number(cell) is not None for cell in present) * 2 <= len(present):
        return Kind.TEXT
    integers = all(cell.lstrip("-").isdecimal() for cell in cells)
    return Kind.INTEGER if integers else Kind.NUMBER


def _parts(sources: Iterator[Block | Records], layout: Layout) -> Iterator[Part]:
    """Parts in the order of the file, a few at work at a time."""
    first = next(sources, None)
    if first is None:
        return
    second = next(sources, None)
    if second is None:  # a small file needs no threads
        yield part_of(first, layout)
        return
    at_work: deque[Future[Part]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        at_work.extend(pool.submit(part_of, source, layout) for source in (first, second))
        for source in sources:
            at_work.append(pool.submit(part_of, source, layout))
            if len(at_work) > WORKERS:
                yield at_work.popleft().result()
        while at_work:
            yield at_work.popleft().result()
