"""Any table, through both parsers, against Python's own csv and statistics modules."""

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
from csv_columns import Column
from csv_dialect import CellRule
from csv_statistics import CsvStatistics, Options, compute_statistics

NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    # squares of numbers below 1e-100 leave the range of doubles
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


def written(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def read(text: str, *, small: int, block: int) -> CsvStatistics:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "table.csv")
        path.write_text(text, encoding="utf-8", newline="")
        patch.setattr(csv_statistics, "POLARS_MIN_BYTES", small)
        patch.setattr(csv_source, "BLOCK_BYTES", block)
        return compute_statistics(path, Options(encoding="utf-8", delimiter=",", decimal="."))


def by_polars(text: str) -> CsvStatistics:
    return read(text, small=0, block=csv_source.BLOCK_BYTES)


def by_csv(text: str) -> CsvStatistics:
    return read(text, small=csv_source.BLOCK_BYTES, block=csv_source.BLOCK_BYTES)


def comparable(column: Column) -> tuple[object, ...]:
    return (
        column.name,
        column.is_numeric,
        column.missing,
        column.moments.count,
        column.not_finite,
        column.texts,
        (column.unit, column.separator, column.has_fractions),
        column.values,
    )


@given(tables())
@settings(deadline=None, max_examples=300)
def test_both_parsers_agree_on_any_table(rows: list[list[str]]) -> None:
    text = written(rows)
    one, other = by_polars(text), by_csv(text)
    assert (one.rows, one.blank_lines) == (other.rows, other.blank_lines)
    assert [comparable(column) for column in one.columns] == [comparable(column) for column in other.columns]


@given(st.text("ab1,5\"\n;. '", max_size=60))
@settings(deadline=None, max_examples=300)
def test_both_parsers_agree_on_any_text(text: str) -> None:
    try:
        expected = by_csv("h,i\n" + text)
    except Exception as error:  # noqa: BLE001 (the both must reject it alike)
        with pytest.raises(type(error)):
            by_polars("h,i\n" + text)
        return
    found = by_polars("h,i\n" + text)
    assert (found.rows, found.blank_lines, found.short_rows, found.long_rows) == (
        expected.rows,
        expected.blank_lines,
        expected.short_rows,
        expected.long_rows,
    )
    assert [comparable(column) for column in found.columns] == [comparable(column) for column in expected.columns]


@given(tables(), st.sampled_from([0, 1 << 20]))
@settings(deadline=None)
def test_statistics_match_the_csv_and_statistics_modules(rows: list[list[str]], small: int) -> None:
    text = written(rows)
    found = read(text, small=small, block=csv_source.BLOCK_BYTES)
    records = [record for record in csv.reader(io.StringIO(text, newline="")) if record][1:]
    rule = CellRule()
    for number, column in enumerate(found.columns):
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
def test_result_does_not_depend_on_the_block_size(rows: list[list[str]], block: int) -> None:
    text = written(rows)
    one, other = read(text, small=0, block=block), by_polars(text)
    # Blocks of numbers are not counted by value; what a column is and its statistics must not depend on blocks.
    assert [comparable(column)[:-1] for column in one.columns] == [comparable(column)[:-1] for column in other.columns]
    for found, expected in zip(one.columns, other.columns, strict=True):
        largest = max(abs(expected.moments.minimum), abs(expected.moments.maximum), 1e-300)
        assert found.moments.mean == pytest.approx(expected.moments.mean, rel=1e-11, abs=1e-14 * largest)
        assert found.moments.m2 == pytest.approx(expected.moments.m2, rel=1e-11, abs=1e-13 * largest**2)


@given(st.text(max_size=12))
def test_parse_number_agrees_with_float_on_ascii_text(cell: str) -> None:
    found = CellRule().parse_number(cell)
    if found is None:
        with pytest.raises(ValueError, match="could not convert"):
            float("x" if not cell.isascii() or "_" in cell or cell != cell.strip() else cell)
    else:
        assert cell.isascii()
        assert found == float(cell) or math.isnan(found)


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
        found = compute_statistics(path)
    assert (found.rows, found.names) == (len(values), ["a note", "amount", "count"])
    means = [statistics.fmean(cents / 100 for cents, _ in values), statistics.fmean(count for _, count in values)]
    assert [column.moments.mean for column in found.numeric_columns] == pytest.approx(means)
    assert [column.moments.count for column in found.numeric_columns] == [len(values)] * 2
