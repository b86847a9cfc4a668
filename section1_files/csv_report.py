"""The statistics of a CSV file as text for people, and as a dictionary for programs."""

import math
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from itertools import count

from csv_dialect import DECIMALS, DELIMITERS, FORMATTED
from csv_statistics import MAX_DISTINCT, Anomalies, Column, CsvStatistics
from errors import count_noun, printable

MAX_NAME_WIDTH = 32
SEPARATORS = {",": "comma", ".": "point", "'": "apostrophe", " ": "space"}
QUARTILES = ("lower quartile", "median", "upper quartile")


def report_lines(statistics: CsvStatistics, *, population: bool = False, quartiles: bool = False) -> Iterator[str]:
    """Yield the lines of the report."""
    dialect = statistics.dialect
    delimiter = DELIMITERS.get(dialect.delimiter, repr(dialect.delimiter))
    yield (
        f"{printable(str(statistics.path))}: {count_noun(len(statistics.names), 'column')}, "
        f"{count_noun(statistics.rows, 'row')} (encoding {statistics.encoding}, delimiter {delimiter}, "
        f"decimal {DECIMALS[dialect.decimal]})"
    )
    yield "Columns: " + ", ".join(_display_name(name, number) for name, number in zip(statistics.names, count(1)))
    numbers = [
        [
            _display_name(column.name, column.number),
            f"{column.moments.count:,}",
            f"{column.missing:,}",
            f"{column.texts.count:,}",
            _format(mean(column)),
            _format(column.moments.standard_deviation(population=population)),
            _format(column.moments.minimum),
            *(map(_format, column.quartiles or (None,) * 3) if quartiles else ()),
            _format(column.moments.maximum),
        ]
        for column in statistics.numeric_columns
    ]
    if numbers:
        deviation = f"std. dev. ({'population' if population else 'sample'})"
        header = ["Numbers", "count", "missing", "bad", "average", deviation, "minimum"]
        yield ""
        yield from format_table([[*header, *(QUARTILES if quartiles else ()), "maximum"], *numbers])
    texts = [
        [
            _display_name(column.name, column.number),
            f"{_text_count(column):,}",
            f"{column.missing:,}",
            f"{'' if _is_exact(column) else 'over '}{_distinct(column):,}",
            "  ".join(f"{_quote(value)} ×{number:,}" for value, number in _most_frequent(column)),
        ]
        for column in statistics.columns
        if not column.is_numeric
    ]
    if texts:
        yield ""
        yield from format_table([["Text", "count", "missing", "distinct", "most frequent"], *texts], last_left=True)
    remarks = [*_file_remarks(statistics), *_column_remarks(statistics)]
    if remarks:
        yield ""
        yield from (f"! {remark}" for remark in remarks)


def _display_name(name: str, number: int) -> str:
    """Return a column's name on one line; its number where the name is empty."""
    return _shorten(printable(name)) or f"(column {number})"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_NAME_WIDTH else text[: MAX_NAME_WIDTH - 1] + "…"


def _file_remarks(statistics: CsvStatistics) -> Iterator[str]:
    """Yield what a reader should know about the rows before trusting the statistics."""
    if statistics.header_looks_like_data:
        yield "the first line is read as names but looks like data; --no-header makes it a row"
    skipped = statistics.dialect.skipped
    if skipped:
        texts = ", ".join(f"line {line} {_quote(text)}" for line, text in skipped[:3])
        more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        yield f"{count_noun(len(skipped), 'line')} above the table skipped: {texts}{more}"
    if where := statistics.dialect.unnamed:
        yield f"the rows are longer than the header: the {where} columns have no name"
    for rows, length, effect in (
        (statistics.short_rows, "shorter", "the missing cells count as missing values"),
        (statistics.long_rows, "longer", "the extra cells are ignored"),
    ):
        if rows.count:
            yield f"{count_noun(rows.count, 'row')} {length} than the header ({effect}): {_list_lines(rows, '({})')}"
    if statistics.total_rows.count:
        lines = _list_lines(statistics.total_rows)
        yield f"a row at the end looks like a total or a note and is included in the statistics: {lines}"
    if statistics.blank_lines:
        yield f"{count_noun(statistics.blank_lines, 'blank line')} skipped"


def _column_remarks(statistics: CsvStatistics) -> Iterator[str]:
    seen: set[str] = set()
    for column in statistics.columns:
        name = _display_name(column.name, column.number)
        if column.name and column.name in seen:
            yield f"column {column.number} has the same name as an earlier one: {name}"
        seen.add(column.name)
        if not column.is_numeric:
            if column.texts.count and all(FORMATTED.fullmatch(value) for _, value in column.texts.first):
                value = _quote(column.texts.first[0][1])
                yield f"{name}: read as text, though cells such as {value} look like numbers of another format"
            continue
        if column.unit or column.separator:
            unit = [f'unit "{column.unit}"'] if column.unit else []
            separator = [f"thousands separator {SEPARATORS[column.separator]}"] if column.separator else []
            yield f"{name}: numbers with {' and '.join([*unit, *separator])}"
        for anomalies, problem in ((column.texts, "not a number"), (column.not_finite, "not finite")):
            if anomalies.count:
                cells = count_noun(anomalies.count, "cell")
                yield f"{name}: {cells} {problem}, excluded from the statistics: {_list_lines(anomalies)}"
        if column.has_leading_zeros:
            yield f"{name}: numbers with leading zeros; if they are codes, their average means nothing"
        if column.moments.count == 1:
            yield f"{name}: the sample standard deviation of one number is undefined"


def _list_lines(anomalies: Anomalies, form: str = '"{}"') -> str:
    lines = [f"line {line:,} {form.format(_shorten(printable(value)))}" for line, value in anomalies.first]
    more = anomalies.count - len(lines)
    return ", ".join(lines) + (f" and {more:,} more" if more else "")


def _quote(value: str) -> str:
    return f'"{_shorten(printable(value))}"'


def _format(value: float | None) -> str:
    """Return a number in six significant digits; a dash for None and infinity."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:,.6g}"


def format_table(rows: Sequence[Sequence[str]], *, last_left: bool = False) -> Iterator[str]:
    """Yield rows as aligned text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if index == 0 or (last_left and index == len(row) - 1) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def mean(column: Column) -> float | None:
    """Return the mean of a column's numbers; None without numbers, or where their sum is too large for a double."""
    return column.moments.mean if column.moments.count and math.isfinite(column.moments.mean) else None


def _text_count(column: Column) -> int:
    return column.texts.count + column.moments.count + column.not_finite.count


def _is_exact(column: Column) -> bool:
    return column.values is not None and not column.uncounted


def _distinct(column: Column) -> int:
    return MAX_DISTINCT if column.values is None else len(column.values)


def _most_frequent(column: Column) -> list[tuple[str, int]]:
    """Return the three most frequent values, ties by value, with their counts."""
    values = (column.values or {}).items() if _is_exact(column) else ()
    return nsmallest(3, values, key=lambda item: (-item[1], item[0]))


def to_dict(statistics: CsvStatistics, *, population: bool = False, quartiles: bool = False) -> dict[str, object]:
    """Return the content of `--json`: the same as the report, with every digit."""
    dialect = statistics.dialect
    return {
        "path": printable(str(statistics.path)),
        "encoding": statistics.encoding,
        "delimiter": dialect.delimiter,
        "decimal": dialect.decimal,
        "header_line": dialect.header_line,
        "skipped_lines": [{"line": line, "value": text} for line, text in dialect.skipped],
        "header_looks_like_data": statistics.header_looks_like_data,
        "rows": statistics.rows,
        "blank_lines": statistics.blank_lines,
        "short_rows": _anomalies_dict(statistics.short_rows),
        "long_rows": _anomalies_dict(statistics.long_rows),
        "total_rows": _anomalies_dict(statistics.total_rows),
        "standard_deviation": "population" if population else "sample",
        "columns": [_column_dict(column, population, quartiles) for column in statistics.columns],
    }


def _column_dict(column: Column, population: bool, quartiles: bool) -> dict[str, object]:
    common: dict[str, object] = {"name": column.name, "missing": column.missing}
    if column.is_numeric:
        has_numbers = column.moments.count > 0
        found = dict(zip(QUARTILES, column.quartiles or (None,) * 3, strict=True)) if quartiles else {}
        return common | {
            "type": "number",
            "count": column.moments.count,
            "average": mean(column),
            "standard_deviation": column.moments.standard_deviation(population=population),
            "minimum": column.moments.minimum if has_numbers else None,
            **{name.replace(" ", "_"): value for name, value in found.items()},
            "maximum": column.moments.maximum if has_numbers else None,
            "unit": column.unit,
            "thousands_separator": column.separator,
            "leading_zeros": column.has_leading_zeros,
            "not_a_number": _anomalies_dict(column.texts),
            "not_finite": _anomalies_dict(column.not_finite),
        }
    return common | {
        "type": "text",
        "count": _text_count(column),
        "numbers": column.moments.count + column.not_finite.count,
        "distinct": _distinct(column),
        "exact": _is_exact(column),
        "most_frequent": [{"value": value, "count": number} for value, number in _most_frequent(column)],
    }


def _anomalies_dict(anomalies: Anomalies) -> dict[str, object]:
    return {"count": anomalies.count, "first": [{"line": line, "value": value} for line, value in anomalies.first]}
