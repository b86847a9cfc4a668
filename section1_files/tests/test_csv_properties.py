"""Property tests: both parsers, compared with each other and with Python's csv and statistics modules."""

import csv
import io
import math
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import csv_source
import csv_statistics
from csv_dialect import CellRule, Options
from csv_statistics import Column, CsvStatistics, compute_statistics

NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    # squares of numbers below 1e-100 underflow
    st.floats(-1e12, 1e12).filter(lambda number: number == 0 or abs(number) > 1e-100).map(repr),
    st.sampled_from(["69 ", " 7", "+5", "1.", ".5", "1e3", "2E-2", "007"]),
)
ODDITIES = st.sampled_from(
    [
        "",
        "NA",
        "nan",
        "inf",
        "1e400",
        "1_000",
        "９",
        "0x10",
        "1e",
        "-",
        "+",
        ".",
        "1f",
        "\ufeff1",
        "1\x0b",
        "1\u00a0",
        "true",
        "1,234",
        "12,345.5",
        "$5",
        "($1,000)",
        "-0%",
        "7 %",
        "1'000",
        "16,17",
        "0,123",
    ]
)
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), max_size=6)
CELLS = st.one_of(NUMBERS, NUMBERS, NUMBERS, ODDITIES, TEXTS, st.sampled_from(['"', "a,b", "x\ny", 'q"q', ";"]))


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=25))
    return [[f"c{number}" for number in range(width)], *rows]


def to_csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def read_table(text: str, *, polars_min_bytes: int, block_bytes: int) -> CsvStatistics:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "table.csv")
        path.write_text(text, encoding="utf-8", newline="")
        patch.setattr(csv_statistics, "POLARS_MIN_BYTES", polars_min_bytes)
        patch.setattr(csv_source, "BLOCK_BYTES", block_bytes)
        return compute_statistics(path, Options(encoding="utf-8", delimiter=",", decimal=".", header_line=1))


def read_with_polars(text: str) -> CsvStatistics:
    return read_table(text, polars_min_bytes=0, block_bytes=csv_source.BLOCK_BYTES)


def read_with_csv(text: str) -> CsvStatistics:
    return read_table(text, polars_min_bytes=csv_source.BLOCK_BYTES, block_bytes=csv_source.BLOCK_BYTES)


def comparable(column: Column) -> tuple[object, ...]:
    return (
        column.name,
        column.is_numeric,
        column.missing,
        column.moments.count,
        column.not_finite,
        column.texts,
        (column.unit, column.separator, column.has_fractions, column.has_other_decimals),
        column.values,
    )


@given(tables())
@settings(deadline=None, max_examples=300)
def test_both_parsers_agree_on_any_table(rows: list[list[str]]) -> None:
    text = to_csv(rows)
    first, second = read_with_polars(text), read_with_csv(text)
    assert (first.rows, first.blank_lines) == (second.rows, second.blank_lines)
    assert [comparable(column) for column in first.columns] == [comparable(column) for column in second.columns]


def test_tie_between_two_separators_is_decided_alike_by_both_parsers() -> None:
    for rows in ([["v"], ["1'000"], ["1,234"]], [["v"], ["1,234"], ["1'000"]]):
        text = to_csv(rows)
        assert read_with_polars(text).columns[0].separator == read_with_csv(text).columns[0].separator == ","


@given(st.text("ab1,5\"\n;. '", max_size=60))
@settings(deadline=None, max_examples=300)
def test_both_parsers_agree_on_any_text(text: str) -> None:
    try:
        expected = read_with_csv("h,i\n" + text)
    except Exception as error:  # noqa: BLE001 (both parsers must raise the same error)
        with pytest.raises(type(error)):
            read_with_polars("h,i\n" + text)
        return
    result = read_with_polars("h,i\n" + text)
    assert (result.rows, result.blank_lines, result.short_rows, result.long_rows) == (
        expected.rows,
        expected.blank_lines,
        expected.short_rows,
        expected.long_rows,
    )
    assert [comparable(column) for column in result.columns] == [comparable(column) for column in expected.columns]


@given(tables(), st.sampled_from([0, 1 << 20]))
@settings(deadline=None)
def test_statistics_match_the_csv_and_statistics_modules(rows: list[list[str]], polars_min_bytes: int) -> None:
    text = to_csv(rows)
    result = read_table(text, polars_min_bytes=polars_min_bytes, block_bytes=csv_source.BLOCK_BYTES)
    records = [record for record in csv.reader(io.StringIO(text, newline="")) if record][1:]
    rule = CellRule()
    for number, column in enumerate(result.columns):
        if not column.is_numeric or column.unit or column.separator:
            continue
        cells = [record[number].strip(" \t") for record in records if number < len(record)]
        values = [value for cell in cells if (value := rule.parse_number(cell)) is not None and math.isfinite(value)]
        assert column.moments.count == len(values)
        if values:
            largest = max(map(abs, values))
            assert column.moments.mean == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-14 * largest)
        if len(values) > 1:
            deviation = column.moments.standard_deviation()
            assert deviation == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-13 * largest)


@given(tables(), st.integers(1, 200))
@settings(deadline=None)
def test_result_does_not_depend_on_the_block_size(rows: list[list[str]], block_bytes: int) -> None:
    text = to_csv(rows)
    first, second = read_table(text, polars_min_bytes=0, block_bytes=block_bytes), read_with_polars(text)
    # Distinct numbers are not counted in all blocks, so `values` may differ.
    assert [comparable(column)[:-1] for column in first.columns] == [
        comparable(column)[:-1] for column in second.columns
    ]
    for result, expected in zip(first.columns, second.columns, strict=True):
        largest = max(abs(expected.moments.minimum), abs(expected.moments.maximum), 1e-300)
        assert result.moments.mean == pytest.approx(expected.moments.mean, rel=1e-11, abs=1e-14 * largest)
        assert result.moments.m2 == pytest.approx(expected.moments.m2, rel=1e-11, abs=1e-13 * largest**2)


@given(st.text(max_size=12))
def test_parse_number_agrees_with_float_on_ascii_text(cell: str) -> None:
    result = CellRule().parse_number(cell)
    if result is None:
        with pytest.raises(ValueError, match="could not convert"):
            float("x" if not cell.isascii() or "_" in cell or cell != cell.strip() else cell)
    else:
        assert cell.isascii()
        assert result == float(cell) or math.isnan(result)


STYLES = [  # delimiter, decimal mark, separator of thousands
    (",", ".", ""),
    (",", ".", ","),
    (";", ",", ""),
    (";", ",", "."),
    (";", ",", "\u00a0"),
    (";", ".", "'"),
    ("\t", ".", ""),
    ("\t", ",", ""),
    ("|", ".", ""),
]
TITLES = st.sampled_from([[], ["Report 2020"], ["A title", "made by hand"], ["# a, comment"]])


@given(st.sampled_from(STYLES), TITLES, st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 900)), min_size=1))
@settings(deadline=None, max_examples=300)
def test_all_number_styles_are_read_below_any_title(
    style: tuple[str, str, str], titles: list[str], values: list[tuple[int, int]]
) -> None:
    delimiter, decimal, separator = style
    rows = []
    for cents, count in values:
        amount = f"{cents / 100:,.2f}".translate({ord(","): separator, ord("."): decimal})
        cell = f'"{amount}"' if delimiter in amount else amount
        rows.append(delimiter.join(["some text", cell, str(count)]))
    lines = [*titles, delimiter.join(["a note", "amount", "count"]), *rows]
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        path.write_text("\n".join(lines), encoding="utf-8")
        result = compute_statistics(path)
    assert (result.rows, result.names) == (len(values), ["a note", "amount", "count"])
    means = [statistics.fmean(cents / 100 for cents, _ in values), statistics.fmean(count for _, count in values)]
    assert [column.moments.mean for column in result.numeric_columns] == pytest.approx(means)
    assert [column.moments.count for column in result.numeric_columns] == [len(values)] * 2
