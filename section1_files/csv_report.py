"""The statistics of a CSV file as text for people, and as a dictionary for programs."""

import math
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from typing import Any

from csv_dialect import DECIMALS, DELIMITERS, FORMATTED, Options
from csv_statistics import MAX_DISTINCT, Anomalies, Column, CsvStatistics
from errors import count_noun, printable

MAX_NAME_WIDTH = 32
SEPARATORS = {",": "comma", ".": "point", "'": "apostrophe", " ": "space"}
QUARTILES = ("lower_quartile", "median", "upper_quartile")


def report_lines(statistics: CsvStatistics) -> Iterator[str]:
    """Yield the lines of the report."""
    content = to_dict(statistics)
    delimiter = DELIMITERS.get(content["delimiter"], repr(content["delimiter"]))
    yield (
        f"{content['path']}: {count_noun(len(statistics.names), 'column')}, {count_noun(statistics.rows, 'row')} "
        f"(encoding {statistics.encoding}, delimiter {delimiter}, decimal {DECIMALS[content['decimal']]})"
    )
    labels = [_shorten(printable(name)) or f"(column {number})" for number, name in enumerate(statistics.names, 1)]
    yield "Columns: " + ", ".join(labels)
    quartiles = QUARTILES if statistics.options.quartiles else ()
    deviation = f"std. dev. ({content['standard_deviation']})"
    header = ["Numbers", "count", "missing", "bad", "average", deviation, "minimum", *quartiles, "maximum"]
    numbers = [[name.replace("_", " ") for name in header]]
    texts = [["Text", "count", "missing", "distinct", "most frequent"]]
    for column, data in zip(statistics.columns, content["columns"], strict=True):
        cells = [labels[column.number - 1], f"{data['count']:,}", f"{data['missing']:,}"]
        if column.is_numeric:
            names = ["average", "standard_deviation", "minimum", *quartiles, "maximum"]
            numbers.append([*cells, f"{column.texts.count:,}", *(_format(data[name]) for name in names)])
        else:
            frequent = [f"{_quote(item['value'])} ×{item['count']:,}" for item in data["most_frequent"]]
            distinct = f"{'' if data['exact'] else 'over '}{data['distinct']:,}"
            texts.append([*cells, distinct, "  ".join(frequent)])
    for rows in (numbers, texts):
        if len(rows) > 1:
            yield ""
            yield from _format_table(rows, last_left=rows is texts)
    remarks = [*_file_remarks(statistics), *_column_remarks(statistics, labels)]
    if remarks:
        yield ""
        yield from (f"! {remark}" for remark in remarks)


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


def _column_remarks(statistics: CsvStatistics, labels: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for column in statistics.columns:
        name = labels[column.number - 1]
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
    """Return a number in six significant digits, or a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:,.6g}"


def _format_table(rows: Sequence[Sequence[str]], *, last_left: bool) -> Iterator[str]:
    """Yield rows as aligned text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if index == 0 or (last_left and index == len(row) - 1) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def to_dict(statistics: CsvStatistics) -> dict[str, Any]:
    """Return the content of `--json`: the same as the report, with every digit."""
    dialect, options = statistics.dialect, statistics.options
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
        "standard_deviation": "population" if options.population else "sample",
        "columns": [_column_dict(column, options) for column in statistics.columns],
    }


def _column_dict(column: Column, options: Options) -> dict[str, Any]:
    moments, common = column.moments, {"name": column.name, "missing": column.missing}
    if column.is_numeric:
        found = dict(zip(QUARTILES, column.quartiles, strict=True)) if options.quartiles else {}
        return common | {
            "type": "number",
            "count": moments.count,
            "average": _finite(moments.mean) if moments.count else None,
            "standard_deviation": moments.standard_deviation(population=options.population),
            "minimum": _finite(moments.minimum),
            **found,
            "maximum": _finite(moments.maximum),
            "unit": column.unit,
            "thousands_separator": column.separator,
            "leading_zeros": column.has_leading_zeros,
            "not_a_number": _anomalies_dict(column.texts),
            "not_finite": _anomalies_dict(column.not_finite),
        }
    numbers = moments.count + column.not_finite.count
    is_exact = column.values is not None and not column.uncounted
    # The most frequent values first, ties in order of the values.
    values = nsmallest(3, (column.values or {}).items() if is_exact else (), key=lambda item: (-item[1], item[0]))
    return common | {
        "type": "text",
        "count": column.texts.count + numbers,
        "numbers": numbers,
        "distinct": MAX_DISTINCT if column.values is None else len(column.values),
        "exact": is_exact,
        "most_frequent": [{"value": value, "count": count} for value, count in values],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _anomalies_dict(anomalies: Anomalies) -> dict[str, Any]:
    return {"count": anomalies.count, "first": [{"line": line, "value": value} for line, value in anomalies.first]}
