"""The csv command on ordinary and on unusual tables."""

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

import main
from support import Run, Write


@pytest.fixture
def facts(run: Run, csv_file: Write) -> Callable[..., dict[str, Any]]:
    """Write a table, run `csv --json` on it and return what it says."""

    def of(content: str | bytes, *options: str) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(run("csv", csv_file(content), "--json", *options).output)
        return said

    return of


Facts = Callable[..., dict[str, Any]]


def first_column(said: dict[str, Any]) -> dict[str, Any]:
    column: dict[str, Any] = said["columns"][0]
    return column


def test_columns_rows_average_and_sample_deviation_are_printed(run: Run, csv_file: Write) -> None:
    outcome = run("csv", csv_file("name,age\nAnn,30\nBob,40\n"))
    assert outcome.status == 0
    assert "2 columns, 2 rows" in outcome.output
    assert "Columns: name, age" in outcome.output
    assert "std. dev. (sample)" in outcome.output
    (line,) = [line for line in outcome.output.splitlines() if line.startswith("age ")]
    assert line.split() == ["age", "2", "0", "0", "35", "7.07107", "30", "40"]


def test_the_front_door_takes_a_folder_and_a_name(csv_file: Write) -> None:
    path = csv_file("age\n30\n40\n")
    statistics = main.read_csv(path.parent, path.name)
    assert statistics is not None
    assert statistics.columns[0].moments.mean == 35


def test_population_is_named_and_divides_by_n(run: Run, csv_file: Write) -> None:
    outcome = run("csv", csv_file("v\n1\n3\n"), "--population")
    assert "std. dev. (population)" in outcome.output
    assert outcome.output.splitlines()[4].split()[5] == "1"


@pytest.mark.parametrize("cell", ["69 ", " 69", "\t69 ", "+69", "69.", "6.9e1", "069", '" 69"'])
def test_a_number_in_many_forms_is_a_number(facts: Facts, cell: str) -> None:
    assert first_column(facts(f"v;w\n{cell};1\n1;1\n"))["average"] == 35


@pytest.mark.parametrize(
    "cell", ["1_000", "９", "٣", "0x10", "1e", "--1", "12kg", "1 2", "1,5", ".", "12-34", "1.2.3", "01,234"]
)
def test_what_is_no_number_is_reported_with_its_line(facts: Facts, cell: str) -> None:
    column = first_column(facts(f"v;w\n1;1\n2;1\n{cell};1\n", "--decimal", "."))
    assert column["not_a_number"] == {"count": 1, "first": [{"line": 4, "value": cell}]}
    assert (column["count"], column["average"]) == (2, 1.5)


@pytest.mark.parametrize("cell", ["nan", "NaN", "inf", "-Infinity", "1e400"])
def test_what_is_not_finite_is_counted_apart_and_poisons_nothing(facts: Facts, cell: str) -> None:
    column = first_column(facts(f"v\n1\n{cell}\n2\n"))
    assert column["not_finite"] == {"count": 1, "first": [{"line": 3, "value": cell}]}
    assert (column["count"], column["average"]) == (2, 1.5)


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "null", "None", " ", "#N/A"])
def test_missing_values_are_counted(facts: Facts, cell: str) -> None:
    column = first_column(facts(f"v,w\n1,1\n{cell},1\n"))
    assert (column["missing"], column["count"]) == (1, 1)


def test_the_words_for_missing_can_be_named(facts: Facts) -> None:
    column = first_column(facts("v\n1\n-9\n-\n", "--na-value", "-"))
    assert (column["missing"], column["count"]) == (1, 2)


def test_a_column_mostly_of_text_is_text_with_distinct_and_frequent_values(facts: Facts) -> None:
    column = first_column(facts("sex,n\nF,1\nM,1\nF,1\n1,1\n"))
    assert (column["type"], column["distinct"], column["numbers"]) == ("text", 3, 1)
    assert column["most_frequent"][0] == {"value": "F", "count": 2}


def test_short_and_long_rows_are_reported_with_their_lines(facts: Facts) -> None:
    said = facts("a,b\n1,2\n3\n4,5,6\n")
    assert said["short_rows"] == {"count": 1, "first": [{"line": 3, "value": "1 cell"}]}
    assert said["long_rows"] == {"count": 1, "first": [{"line": 4, "value": "3 cells"}]}
    assert (said["rows"], said["columns"][0]["average"], said["columns"][1]["missing"]) == (3, 8 / 3, 1)


def test_lines_are_counted_through_quoted_newlines_and_blank_lines(facts: Facts) -> None:
    said = facts('a,b\n"x\ny",1\n\n"z",oops\nw,2\nv,3\n')
    assert said["blank_lines"] == 1
    assert said["columns"][1]["not_a_number"]["first"] == [{"line": 5, "value": "oops"}]


def test_duplicate_and_empty_names_stay_as_they_are(run: Run, facts: Facts, csv_file: Write) -> None:
    assert [column["name"] for column in facts("x,x,\n1,2,3\n")["columns"]] == ["x", "x", ""]
    outcome = run("csv", csv_file("x,x,\n1,2,3\n"))
    assert "column 2 has the same name as an earlier one: x" in outcome.output
    assert "(column 3)" in outcome.output


def test_without_a_header_the_first_line_counts(facts: Facts) -> None:
    said = facts("1,2\n3,4\n", "--no-header")
    assert (said["rows"], first_column(said)["average"]) == (2, 2)


def test_a_first_line_that_looks_like_data_is_remarked(run: Run, csv_file: Write) -> None:
    assert "! the first line is read as names but looks like data" in run("csv", csv_file("1,2\n3,4\n")).output
    assert "looks like data" not in run("csv", csv_file("a,2\n3,4\n")).output
    assert "looks like data" not in run("csv", csv_file("1,2\n3,4\n"), "--no-header").output


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_by_which_excel_names_the_delimiter_is_no_header(facts: Facts, end: str) -> None:
    said = facts(end.join(["sep=;", "a;b", "1,5;x", "2,5;3", ""]))
    assert (said["delimiter"], [column["name"] for column in said["columns"]]) == (";", ["a", "b"])
    assert said["columns"][0]["average"] == 2
    assert (said["rows"], said["blank_lines"]) == (2, 0)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_ending_is_read(facts: Facts, end: str) -> None:
    said = facts(end.join(["v,w", "1,2", "3,x", "5,6", ""]))
    assert (said["rows"], first_column(said)["average"]) == (3, 3)
    assert said["columns"][1]["not_a_number"]["first"] == [{"line": 3, "value": "x"}]


@pytest.mark.parametrize(
    ("delimiter", "decimal", "content"),
    [
        (",", ".", "a,b\n1.5,2.5\n"),
        (";", ",", "a;b\n1,5;2,5\n"),
        (";", ".", "a;b\n1.5;2.5\n"),
        ("\t", ".", "a\tb\n1.5\t2.5\n"),
        ("|", ".", "a|b\n1.5|2.5\n"),
        (",", ",", 'a,b\n"1,5","2,25"\n'),
        (";", ",", '"a, or so";b\n1,5;2,5\n'),
        (",", ".", 'a,b\n"x;y;z",1\n"u;v;w",2\n'),
    ],
)
def test_delimiter_and_decimal_mark_are_found_out(facts: Facts, delimiter: str, decimal: str, content: str) -> None:
    said = facts(content)
    assert (said["delimiter"], said["decimal"]) == (delimiter, decimal)


def test_a_decimal_comma_is_part_of_its_number(facts: Facts) -> None:
    assert [column["average"] for column in facts("a;b\n1,5;2,5\n2,5;3,5\n")["columns"]] == [2.0, 3.0]


def test_a_thousands_point_beside_a_decimal_comma_is_no_number(facts: Facts) -> None:
    column = first_column(facts("a;b\n1,5;1\n2,5;1\n1.000;1\n"))
    assert column["not_a_number"]["first"] == [{"line": 4, "value": "1.000"}]


@pytest.mark.parametrize(
    ("options", "average"), [(("--delimiter", "comma"), 1.0), (("--delimiter", ";", "--decimal", ","), 1.5)]
)
def test_a_guess_can_be_overruled(facts: Facts, options: tuple[str, ...], average: float) -> None:
    assert first_column(facts("a;b\n1,5;2,5\n", *options))["average"] == average


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("latin-1", "latin-1"),
        ("windows-1252", "latin-1"),  # the same bytes for these letters
    ],
)
def test_encodings_are_found_out_and_named(facts: Facts, encoding: str, named: str) -> None:
    said = facts("ward,n\nRadiología,1\nUrgencias,2\nPediatría,3\n".encode(encoding))
    assert said["encoding"] == named
    assert {item["value"] for item in first_column(said)["most_frequent"]} == {"Radiología", "Urgencias", "Pediatría"}


def test_latin1_far_behind_the_start_is_found_too(facts: Facts) -> None:
    said = facts(b"name,n\n" + b"abc,1\n" * 40_000 + b"Mu\xf1oz,2\n")
    assert (said["encoding"], said["rows"]) == ("latin-1", 40_001)


def test_a_named_encoding_that_does_not_fit_is_refused_with_the_line(run: Run, csv_file: Write) -> None:
    outcome = run("csv", csv_file(b"name,n\nMu\xf1oz,2\n"), "--encoding", "utf-8")
    assert outcome.status == 1
    assert outcome.log[0].endswith("line 2: byte 0xF1 is not UTF-8; name the encoding with --encoding")


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compressed_files_are_read_as_they_are(facts: Facts, kind: str) -> None:
    content = b"v\n1\n3\n"
    assert first_column(facts(compressed(content, kind)))["average"] == 2


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_compressed_file_cut_short_is_refused(run: Run, csv_file: Write, kind: str) -> None:
    outcome = run("csv", csv_file(compressed(b"v\n1\n3\n" * 1000, kind)[:-6]))
    assert (outcome.status, outcome.output) == (1, "")
    assert "damaged or truncated" in outcome.log[0]


def compressed(content: bytes, kind: str) -> bytes:
    if kind == "gzip":
        return gzip.compress(content)
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from backports import zstd
    return bytes(zstd.compress(content))


def test_text_in_the_last_of_many_rows_is_one_bad_cell(facts: Facts) -> None:
    column = first_column(facts(io.StringIO("v\n" + "7\n" * 300_000 + "oops\n").getvalue()))
    assert column["not_a_number"] == {"count": 1, "first": [{"line": 300_002, "value": "oops"}]}
    assert (column["count"], column["average"]) == (300_000, 7)


def test_a_column_whose_start_misleads_is_what_most_of_it_is(facts: Facts) -> None:
    column = first_column(facts("v,w\n" + "7,1\n" * 30_000 + "x,1\n" * 40_000))
    assert (column["type"], column["distinct"]) == ("text", 2)
    assert column["most_frequent"] == [{"value": "x", "count": 40_000}, {"value": "7", "count": 30_000}]


def test_a_long_quoted_cell_does_not_hide_the_numbers_beside_it(facts: Facts) -> None:
    report = '"' + "a line of a long report\n" * 50 + '"'
    content = facts("n,report\n" + f"7,{report}\n" * 200)
    assert [column["type"] for column in content["columns"]] == ["number", "text"]
    assert (content["rows"], content["columns"][0]["average"]) == (200, 7)


def test_more_than_20000_distinct_values_are_not_counted_further(run: Run, facts: Facts, csv_file: Write) -> None:
    content = "uid,n\n" + "".join(f"1.2.{number}.x,1\n" for number in range(60_000))
    column = first_column(facts(content))
    assert (column["distinct"], column["exact"], column["most_frequent"]) == (20_000, False, [])
    assert "over 20,000" in run("csv", csv_file(content)).output


def test_quotes_within_a_cell_are_read_as_the_csv_module_does(facts: Facts) -> None:
    said = facts('name,n\n5" tube,1\n6" tube,2\n"a ""b""",3\n')
    assert [item["value"] for item in first_column(said)["most_frequent"]] == ['5" tube', '6" tube', 'a "b"']


def test_json_is_one_line(run: Run, csv_file: Write) -> None:
    outcome = run("csv", csv_file("v,w\n" + "1,2\n" * 10_000), "--json")
    assert len(outcome.output.splitlines()) == 1
