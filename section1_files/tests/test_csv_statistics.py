"""The statistics that the csv command reports."""

import gzip
import io
import os
import subprocess
import sys
from typing import Any

import pytest

import main
from support import ReadJson, Run, Write


def first_column(result: dict[str, Any]) -> dict[str, Any]:
    column: dict[str, Any] = result["columns"][0]
    return column


def test_columns_rows_average_and_sample_deviation_are_printed(run: Run, csv_file: Write) -> None:
    outcome = run("csv", csv_file("name,age\nAnn,30\nBob,40\n"))
    assert outcome.status == 0
    assert "2 columns, 2 rows" in outcome.output
    assert "Columns: name, age" in outcome.output
    assert "std. dev. (sample)" in outcome.output
    (line,) = [line for line in outcome.output.splitlines() if line.startswith("age ")]
    assert line.split() == ["age", "2", "0", "0", "35", "7.07107", "30", "40"]


def test_read_csv_accepts_a_folder_and_a_name(csv_file: Write) -> None:
    path = csv_file("age\n30\n40\n")
    statistics = main.read_csv(path.parent, path.name)
    assert statistics is not None
    assert statistics.columns[0].moments.mean == 35


def test_population_option_divides_by_n_and_is_named_in_the_report(run: Run, csv_file: Write) -> None:
    outcome = run("csv", csv_file("v\n1\n3\n"), "--population")
    assert "std. dev. (population)" in outcome.output
    assert outcome.output.splitlines()[4].split()[5] == "1"


@pytest.mark.parametrize("cell", ["69 ", " 69", "\t69 ", "+69", "69.", "6.9e1", "069", '" 69"'])
def test_numbers_may_have_whitespace_signs_zeros_and_exponents(read: ReadJson, cell: str) -> None:
    assert first_column(read(f"v;w\n{cell};1\n1;1\n"))["average"] == 35


@pytest.mark.parametrize(
    "cell", ["1_000", "９", "٣", "0x10", "1e", "--1", "12kg", "1 2", "1,5", ".", "12-34", "1.2.3", "01,234"]
)
def test_invalid_numbers_are_reported_with_their_lines(read: ReadJson, cell: str) -> None:
    column = first_column(read(f"v;w\n1;1\n2;1\n{cell};1\n", "--decimal", "."))
    assert column["not_a_number"] == {"count": 1, "first": [{"line": 4, "value": cell}]}
    assert (column["count"], column["average"]) == (2, 1.5)


@pytest.mark.parametrize("cell", ["nan", "NaN", "inf", "-Infinity", "1e400"])
def test_nan_and_infinity_are_reported_and_excluded_from_the_average(read: ReadJson, cell: str) -> None:
    column = first_column(read(f"v\n1\n{cell}\n2\n"))
    assert column["not_finite"] == {"count": 1, "first": [{"line": 3, "value": cell}]}
    assert (column["count"], column["average"]) == (2, 1.5)


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "null", "None", " ", "#N/A"])
def test_missing_values_are_counted(read: ReadJson, cell: str) -> None:
    column = first_column(read(f"v,w\n1,1\n{cell},1\n"))
    assert (column["missing"], column["count"]) == (1, 1)


def test_na_value_option_replaces_the_missing_value_words(read: ReadJson) -> None:
    column = first_column(read("v\n1\n-9\n-\n", "--na-value", "-"))
    assert (column["missing"], column["count"]) == (1, 2)


@pytest.mark.parametrize("rows", [1, 30_000], ids=["by csv", "by polars"])
def test_na_value_option_accepts_a_number(read: ReadJson, rows: int) -> None:
    columns = read("v,w\n" + "1,3\n-999,-999\n1,x\n1,3\n" * rows, "--na-value", "-999")["columns"]
    assert [column["missing"] for column in columns] == [rows, rows]
    assert [column["average"] for column in columns] == [1, 3]


def test_text_column_has_distinct_and_most_frequent_values(read: ReadJson) -> None:
    column = first_column(read("sex,n\nF,1\nM,1\nF,1\n1,1\n"))
    assert (column["type"], column["distinct"], column["numbers"]) == ("text", 3, 1)
    assert column["most_frequent"][0] == {"value": "F", "count": 2}


def test_short_and_long_rows_are_reported_with_their_lines(read: ReadJson) -> None:
    result = read("a,b\n1,2\n3\n4,5,6\n")
    assert result["short_rows"] == {"count": 1, "first": [{"line": 3, "value": "1 cell"}]}
    assert result["long_rows"] == {"count": 1, "first": [{"line": 4, "value": "3 cells"}]}
    assert (result["rows"], result["columns"][0]["average"], result["columns"][1]["missing"]) == (3, 8 / 3, 1)


def test_line_numbers_include_quoted_newlines_and_blank_lines(read: ReadJson) -> None:
    result = read('a,b\n"x\ny",1\n\n"z",oops\nw,2\nv,3\n')
    assert result["blank_lines"] == 1
    assert result["columns"][1]["not_a_number"]["first"] == [{"line": 5, "value": "oops"}]


def test_duplicate_and_empty_column_names_are_preserved(run: Run, read: ReadJson, csv_file: Write) -> None:
    assert [column["name"] for column in read("x,x,\n1,2,3\n")["columns"]] == ["x", "x", ""]
    outcome = run("csv", csv_file("x,x,\n1,2,3\n"))
    assert "column 2 has the same name as an earlier one: x" in outcome.output
    assert "(column 3)" in outcome.output


def test_no_header_option_makes_the_first_line_a_row(read: ReadJson) -> None:
    result = read("1,2\n3,4\n", "--no-header")
    assert (result["rows"], first_column(result)["average"]) == (2, 2)


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("1,2\n3,4\n", [], True),
        ("1,2\n3,4\n", ["--no-header"], False),
        ("a,2\n3,4\n", [], False),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", [], True),
        ("39,Private,77516,13\n50,Self,83311,9\n", [], True),
        ("country,1,2,3\nA,10,20,30\n", [], False),
        ("country,2020\nA,10\n", [], False),
    ],
)
def test_header_that_looks_like_data_is_reported(
    read: ReadJson, content: str, options: list[str], expected: bool
) -> None:
    assert read(content, *options)["header_looks_like_data"] is expected


def test_column_of_text_and_nan_is_text(read: ReadJson) -> None:
    assert read("k,v\n1,NaN\n2,NaN\n3,NaN\n4,abc\n")["columns"][1]["type"] == "text"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sep_line_sets_the_delimiter_and_is_not_the_header(read: ReadJson, end: str) -> None:
    result = read(end.join(["sep=;", "a;b", "1,5;x", "2,5;3", ""]))
    assert (result["delimiter"], [column["name"] for column in result["columns"]]) == (";", ["a", "b"])
    assert result["columns"][0]["average"] == 2
    assert (result["rows"], result["blank_lines"]) == (2, 0)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lf_crlf_and_cr_line_endings_are_read(read: ReadJson, end: str) -> None:
    result = read(end.join(["v,w", "1,2", "3,x", "5,6", ""]))
    assert (result["rows"], first_column(result)["average"]) == (3, 3)
    assert result["columns"][1]["not_a_number"]["first"] == [{"line": 3, "value": "x"}]


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
def test_delimiter_and_decimal_mark_are_detected(read: ReadJson, delimiter: str, decimal: str, content: str) -> None:
    result = read(content)
    assert (result["delimiter"], result["decimal"]) == (delimiter, decimal)


def test_decimal_commas_are_read_as_decimals(read: ReadJson) -> None:
    assert [column["average"] for column in read("a;b\n1,5;2,5\n2,5;3,5\n")["columns"]] == [2.0, 3.0]


def test_thousands_point_in_a_decimal_comma_column_is_reported(read: ReadJson) -> None:
    column = first_column(read("a;b\n1,5;1\n2,5;1\n1.000;1\n"))
    assert column["not_a_number"]["first"] == [{"line": 4, "value": "1.000"}]


@pytest.mark.parametrize(
    ("options", "average"), [(("--delimiter", "comma"), 1.0), (("--delimiter", ";", "--decimal", ","), 1.5)]
)
def test_options_override_the_detected_dialect(read: ReadJson, options: tuple[str, ...], average: float) -> None:
    assert first_column(read("a;b\n1,5;2,5\n", *options))["average"] == average


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
def test_encoding_is_detected_and_reported(read: ReadJson, encoding: str, named: str) -> None:
    result = read("ward,n\nRadiología,1\nUrgencias,2\nPediatría,3\n".encode(encoding))
    assert result["encoding"] == named
    assert {item["value"] for item in first_column(result)["most_frequent"]} == {"Radiología", "Urgencias", "Pediatría"}


def test_latin1_byte_late_in_the_file_is_detected(read: ReadJson) -> None:
    result = read(b"name,n\n" + b"abc,1\n" * 40_000 + b"Mu\xf1oz,2\n")
    assert (result["encoding"], result["rows"]) == ("latin-1", 40_001)


def test_byte_outside_the_given_encoding_is_rejected_with_its_line(run: Run, csv_file: Write) -> None:
    outcome = run("csv", csv_file(b"name,n\nMu\xf1oz,2\n"), "--encoding", "utf-8")
    assert outcome.status == 1
    assert outcome.log[0].endswith("line 2: byte 0xF1 is not UTF-8; name the encoding with --encoding")


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compressed_files_are_decompressed(read: ReadJson, kind: str) -> None:
    content = b"v\n1\n3\n"
    assert first_column(read(compressed(content, kind)))["average"] == 2


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_truncated_compressed_file_is_rejected(run: Run, csv_file: Write, kind: str) -> None:
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


def test_result_does_not_depend_on_the_order_of_hashes(csv_file: Write) -> None:
    path = csv_file("v,w\n" + '"$1,234.50",1\n-$5,1\n"$2,345",1\n($.25),1\n$0.1,1\n' * 5000)
    outputs = {
        subprocess.run(
            [sys.executable, main.__file__, "csv", path, "--json"],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(outputs) == 1


def test_text_in_row_300001_of_a_number_column_is_reported(read: ReadJson) -> None:
    column = first_column(read(io.StringIO("v\n" + "7\n" * 300_000 + "oops\n").getvalue()))
    assert column["not_a_number"] == {"count": 1, "first": [{"line": 300_002, "value": "oops"}]}
    assert (column["count"], column["average"]) == (300_000, 7)


def test_column_type_is_decided_by_the_complete_column(read: ReadJson) -> None:
    column = first_column(read("v,w\n" + "7,1\n" * 30_000 + "x,1\n" * 40_000))
    assert (column["type"], column["distinct"]) == ("text", 2)
    assert column["most_frequent"] == [{"value": "x", "count": 40_000}, {"value": "7", "count": 30_000}]


def test_numbers_beside_long_quoted_cells_are_read(read: ReadJson) -> None:
    report = '"' + "a line of a long report\n" * 50 + '"'
    content = read("n,report\n" + f"7,{report}\n" * 200)
    assert [column["type"] for column in content["columns"]] == ["number", "text"]
    assert (content["rows"], content["columns"][0]["average"]) == (200, 7)


def test_distinct_values_are_counted_up_to_20000(run: Run, read: ReadJson, csv_file: Write) -> None:
    content = "uid,n\n" + "".join(f"1.2.{number}.x,1\n" for number in range(60_000))
    column = first_column(read(content))
    assert (column["distinct"], column["exact"], column["most_frequent"]) == (20_000, False, [])
    assert "over 20,000" in run("csv", csv_file(content)).output


def test_quotes_within_a_cell_are_read_like_the_csv_module(read: ReadJson) -> None:
    result = read('name,n\n5" tube,1\n6" tube,2\n"a ""b""",3\n')
    assert [item["value"] for item in first_column(result)["most_frequent"]] == ['5" tube', '6" tube', 'a "b"']


def test_json_output_is_one_line(run: Run, csv_file: Write) -> None:
    outcome = run("csv", csv_file("v,w\n" + "1,2\n" * 10_000), "--json")
    assert len(outcome.output.splitlines()) == 1
