"""The statistics of a CSV file in words, and as facts for a program."""

import math
from collections.abc import Iterator, Sequence

from csv_columns import Column, Findings
from csv_dialect import DECIMALS, DELIMITERS
from csv_statistics import CsvStatistics
from errors import printable

WIDEST_NAME = 32


def report_lines(statistics: CsvStatistics, *, population: bool = False) -> Iterator[str]:
    """The report as a person reads it."""
    columns = statistics.columns
    delimiter = DELIMITERS.get(statistics.dialect.delimiter, repr(statistics.dialect.delimiter))
    yield (
        f"{printable(str(statistics.path))}: {len(columns):,} {'column' if len(columns) == 1 else 'columns'}, "
        f"{statistics.rows:,} {'row' if statistics.rows == 1 else 'rows'} "
        f"(encoding {statistics.encoding}, delimiter {delimiter}, decimal {DECIMALS[statistics.dialect.decimal]})"
    )
    yield "Columns: " + ", ".join(shown_name(column, number) for number, column in enumerate(columns, 1))
    yield from _table_of_numbers(columns, population=population)
    yield from _table_of_texts(columns)
    yield from _remarks(statistics)


def shown_name(column: Column, number: int) -> str:
    """A column's name on one line; its number where the name is empty."""
    name = printable(column.name)
    if not name:
        return f"(column {number})"
    return name if len(name) <= WIDEST_NAME else name[: WIDEST_NAME - 1] + "…"


def _table_of_numbers(columns: Sequence[Column], *, population: bool) -> Iterator[str]:
    kind = "population" if population else "sample"
    rows = [
        [
            shown_name(column, number),
            f"{column.moments.count:,}",
            f"{column.missing:,}",
            f"{column.bad.count:,}",
            _figure(average(column)),
            _figure(column.moments.standard_deviation(population=population)),
            _figure(column.moments.minimum),
            _figure(column.moments.maximum),
        ]
        for number, column in enumerate(columns, 1)
        if column.is_numeric
    ]
    if rows:
        header = ["Numbers", "count", "missing", "bad", "average", f"std. dev. ({kind})", "minimum", "maximum"]
        yield ""
        yield from table([header, *rows], left=1)


def _table_of_texts(columns: Sequence[Column]) -> Iterator[str]:
    rows = [
        [
            shown_name(column, number),
            f"{column.texts:,}",
            f"{column.missing:,}",
            f"{'' if column.frequencies.exact else 'about '}{column.frequencies.distinct:,}",
            _most_frequent(column),
        ]
        for number, column in enumerate(columns, 1)
        if not column.is_numeric
    ]
    if rows:
        yield ""
        yield from table([["Text", "count", "missing", "distinct", "most frequent"], *rows], left=1, last_left=True)


def _most_frequent(column: Column) -> str:
    sign = "×" if column.frequencies.exact else "≥"
    named = (f"{_quoted(value)} {sign}{count:,}" for value, count in column.frequencies.most_frequent())
    return "  ".join(named) or ("none stands out" if column.texts else "")


def _remarks(statistics: CsvStatistics) -> Iterator[str]:
    """What a person should know before trusting the figures."""
    remarks = list(_remarks_on_columns(statistics.columns))
    if statistics.header_is_numbers:
        remarks.insert(0, "the first line is taken for names but looks like data; --no-header makes it a row")
    for findings, what in ((statistics.short_rows, "shorter"), (statistics.long_rows, "longer")):
        if findings.count:
            rest = "the cells that it lacks count as missing" if what == "shorter" else "its further cells do not count"
            where = _places(findings, quote=False)
            remarks.append(f"{_counted(findings.count, 'row')} {what} than the header ({rest}): {where}")
    if statistics.blank_lines:
        remarks.append(f"{_counted(statistics.blank_lines, 'blank line')} left out")
    if remarks:
        yield ""
        yield from (f"! {remark}" for remark in remarks)


def _remarks_on_columns(columns: Sequence[Column]) -> Iterator[str]:
    seen: set[str] = set()
    for number, column in enumerate(columns, 1):
        name = shown_name(column, number)
        if column.name and column.name in seen:
            yield f"column {number} has the same name as one before it: {name}"
        seen.add(column.name)
        if not column.is_numeric:
            continue
        if column.bad.count:
            cells = _counted(column.bad.count, "cell")
            yield f"{name}: {cells} not a number, left out of the figures: {_places(column.bad)}"
        if column.not_finite.count:
            cells = _counted(column.not_finite.count, "cell")
            yield f"{name}: {cells} not finite, left out of the figures: {_places(column.not_finite)}"
        if column.moments.count == 1:
            yield f"{name}: the sample standard deviation of one number is undefined"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _places(findings: Findings, *, quote: bool = True) -> str:
    places = [f"line {line:,} {_quoted(value) if quote else f'({value})'}" for line, value in findings.first]
    more = findings.count - len(places)
    return ", ".join(places) + (f" and {more:,} more" if more else "")


def _quoted(value: str) -> str:
    text = printable(value)
    return f'"{text if len(text) <= WIDEST_NAME else text[: WIDEST_NAME - 1] + "…"}"'


def _figure(value: float | None) -> str:
    """A number in six significant digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:,.6g}"


def table(rows: Sequence[Sequence[str]], *, left: int, last_left: bool = False) -> Iterator[str]:
    """Rows as aligned text: the first `left` columns to the left, the others to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if at < left or (last_left and at == len(row) - 1) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def average(column: Column) -> float | None:
    """The mean of a column's numbers; None where it has none, or where their sum is too large for a double."""
    return column.moments.mean if column.moments.count and math.isfinite(column.moments.mean) else None


def facts(statistics: CsvStatistics, *, population: bool = False) -> dict[str, object]:
    """What `--json` shows: the same as the report, with every digit."""
    return {
        "path": printable(str(statistics.path)),
        "encoding": statistics.encoding,
        "delimiter": statistics.dialect.delimiter,
        "decimal": statistics.dialect.decimal,
        "header_looks_like_data": statistics.header_is_numbers,
        "rows": statistics.rows,
        "blank_lines": statistics.blank_lines,
        "short_rows": _findings_facts(statistics.short_rows),
        "long_rows": _findings_facts(statistics.long_rows),
        "standard_deviation": "population" if population else "sample",
        "columns": [_column_facts(column, population=population) for column in statistics.columns],
    }


def _column_facts(column: Column, *, population: bool) -> dict[str, object]:
    common: dict[str, object] = {"name": column.name, "missing": column.missing}
    if column.is_numeric:
        some = column.moments.count > 0
        return common | {
            "type": "number",
            "count": column.moments.count,
            "average": average(column),
            "standard_deviation": column.moments.standard_deviation(population=population),
            "minimum": column.moments.minimum if some else None,
            "maximum": column.moments.maximum if some else None,
            "not_a_number": _findings_facts(column.bad),
            "not_finite": _findings_facts(column.not_finite),
        }
    frequencies = column.frequencies
    return common | {
        "type": "text",
        "count": column.texts,
        "numbers": column.numbers_among_text,
        "distinct": frequencies.distinct,
        "exact": frequencies.exact,
        "most_frequent": [{"value": value, "count": count} for value, count in frequencies.most_frequent()],
    }


def _findings_facts(findings: Findings) -> dict[str, object]:
    first = [{"line": line, "value": value} for line, value in findings.first]
    return {"count": findings.count, "first": first}
