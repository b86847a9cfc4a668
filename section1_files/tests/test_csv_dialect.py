"""Detection of encoding, line endings, header line, delimiter, decimal mark and number format."""

import io
import json
from typing import Any

import pytest

import csv_source
from support import ReadJson, Run, Write

ENDINGS = ["a,b\r1,2\n3,4\n", "a,b\n1,2\r3,4", "a,b\r\n1,2\r3,4\n", "a,b\r1,2\r3,4", "a,b\n\r\n1,2\r\n3,4\r\n"]
COMMAS = "the commas may be delimiters or decimal marks; decide with --delimiter , or with --decimal ,"
HEADERS = "this line or line 1 may be the header; decide with --header-line 1 or with --header-line"
DECIMALS = "may have decimals or a separator of thousands; decide with --decimal , or with --decimal ."


def averages(result: dict[str, Any]) -> dict[str, float]:
    return {column["name"]: column["average"] for column in result["columns"] if column["type"] == "number"}


@pytest.mark.parametrize("content", ENDINGS)
def test_mixed_line_endings_do_not_lose_rows(read: ReadJson, content: str) -> None:
    result = read(content)
    assert (result["rows"], averages(result)) == (2, {"a": 2, "b": 3})


def test_cr_line_endings_with_latin1_bytes_are_read(read: ReadJson) -> None:
    result = read("ward,n\rRadiología,1\rPediatría,2\r".encode("latin-1"))
    assert (result["encoding"], result["rows"], averages(result)) == ("latin-1", 2, {"n": 1.5})


def test_windows_1252_is_distinguished_from_latin1(read: ReadJson) -> None:
    result = read(b"name,n\nx,1\n\x93O\x92Neill\x94 \x80,2\n")
    assert result["encoding"] == "windows-1252"
    assert {"value": "“O’Neill” €", "count": 1} in result["columns"][0]["most_frequent"]


def test_invalid_bytes_after_utf8_text_are_rejected(run: Run, csv_file: Write) -> None:
    outcome = run("csv", csv_file("name,n\nMuñoz,1\n".encode() + b"Pe\xf1a,2\n"))
    assert outcome.status == 1
    assert outcome.log[0].endswith("line 3: byte 0xF1 is not UTF-8; name the encoding with --encoding")


@pytest.mark.parametrize(
    ("content", "names", "skipped"),
    [
        ("Temperature log\ntime,value\n1,20\n2,21\n", ["time", "value"], [1]),
        ("Temperature, log\ntime;value\n1;2,5\n2;3,5\n", ["time", "value"], [1]),
        ("Report;;\nMade;2020-01-01;\n\nname;n;m\nA;1;2\nB;2;3\n", ["name", "n", "m"], [1, 2]),
        ("# one\n# two, three\na,b\n1,2\n", ["a", "b"], [1, 2]),
        ("Population,,\nCountry,2019,2020\nA,1,2\n", ["Country", "2019", "2020"], [1]),
        ("#chrom\tstart\nchr1\t1\nchr1\t3\n", ["#chrom", "start"], []),
        ("name,\nAnn,1\nBob,2\n", ["name", ""], []),
        ('"mpg","cyl"\n"Mazda",21,6\n"Datsun",22,4\n', ["", "mpg", "cyl"], []),
        ("a,b\n1,2,\n3,4,\n", ["a", "b", ""], []),
        ("Bericht\n\nName;Betrag\nA;1.234,50\nB;20,00\nSumme;1.254,50\n", ["Name", "Betrag"], [1]),
        ('"a",  "b, c"\n"x",  1\n"y",  2\n', ["a", "b, c"], []),
        ("Device;A;;\nSerial;123;;\nt;x;y;z\n0;1,5;2;3\n1;1,6;2;3\n", ["t", "x", "y", "z"], [1, 2]),
        ("Report,,\nDevice,12,\n,x,y\nA,1,2\nB,3,4\n", ["", "x", "y"], [1, 2]),
        ("Serial,12,,\n,x,y,z\nA,1,,3\nB,3,4,\n", ["", "x", "y", "z"], [1]),
        ("Population\n,2018,2019\nA,1,2\nB,3,4\n", ["", "2018", "2019"], [1]),
        ("a,b\n1,2,,\n3,4,,\n", ["a", "b", "", ""], []),
        ("Made;2020;\n" + "x;y;\n" * 12 + "a;b;c\n1;2;3\n", ["a", "b", "c"], [*range(1, 14)]),
        ("Report,,,\nYear,2020,,\nx,y,z,\nA,1,2.5,\nB,2,3.5,\n", ["x", "y", "z", ""], [1, 2]),
        ("Region,Males,,Females,\n,2019,2020,2019,2020\nA,1,2,3,4\n", ["", "2019", "2020", "2019", "2020"], [1]),
        ("name,,n\n,x,y\nBob,y,3\n", ["name", "", "n"], []),
        ("name,n,\nAnn,5,\nBob,x,y\nCy,6,\nDi,7,\n", ["name", "n", ""], []),
        ("Patient,Ana\nDate,2024-01-01\ntime,value\n1,20\n2,30\n", ["time", "value"], [1, 2]),
        ("Log\nPatient;Ana;\nAge;45;\nt;v;\n0,5;20;\n1,5;30;\n", ["t", "v", ""], [1, 2, 3]),
        ("t,v\n(s),(mV)\n1,20\n2,30\n", ["t", "v"], []),
        ("date,price\n2024-01-01,-\n2024-01-02,5\n2024-01-03,6\n", ["date", "price"], []),
        ("name,score\nAnn,unknown\nBob,5\nCy,6\n", ["name", "score"], []),
    ],
    ids=[
        "title",
        "title with delimiter",
        "padded titles",
        "comments",
        "years",
        "hash",
        "no name",
        "R",
        "trailing",
        "title and decimals",
        "spaces before quotes",
        "padded titles with numbers",
        "padded titles above row names",
        "padded titles above gaps",
        "years without a name",
        "two trailing delimiters",
        "many padded titles",
        "padded titles and a trailing delimiter",
        "merged names",
        "no name in the middle",
        "no title but a trailing delimiter",
        "names and values",
        "padded names and values",
        "units",
        "first value is not a number",
        "first value is a word",
    ],
)
def test_header_is_found_below_titles_and_comments(
    read: ReadJson, content: str, names: list[str], skipped: list[int]
) -> None:
    result = read(content)
    assert [column["name"] for column in result["columns"]] == names
    assert [item["line"] for item in result["skipped_lines"]] == skipped


def test_skipped_lines_above_the_table_are_reported(run: Run, csv_file: Write) -> None:
    outcome = run("csv", csv_file("Temperature log\ntime,value\n1,20\n2,21\n"))
    assert '! 1 line above the table skipped: line 1 "Temperature log"' in outcome.output


def test_header_line_beyond_the_sample_is_rejected(run: Run, csv_file: Write) -> None:
    path = csv_file("a,b\n1,2\n")
    assert run("csv", path, "--header-line", "7").log == [f"{path}: no data; check --header-line"]


def test_single_row_without_a_line_ending_is_read(read: ReadJson) -> None:
    result = read("A title\nmade by hand\nname;n\nx;1,5")
    assert (result["header_line"], averages(result)) == (3, {"n": 1.5})


def test_line_numbers_below_a_title_are_those_of_the_file(read: ReadJson) -> None:
    column = read("Title\n\na,b\n1,2\n2,x\n3,4\n")["columns"][1]
    assert column["not_a_number"]["first"] == [{"line": 5, "value": "x"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\n1,5\n1,5\n", f"line 2: {COMMAS}"),
        ("Temperature log\n1,20\n2,21\n", f"line 2: {COMMAS}"),
        ("a,b\n1,5,2,5\n1,5,2,5\n", f"line 2: {COMMAS}"),
        ("a;b\n1,234;x\n2,345;y\n", f'numbers such as "1,234" {DECIMALS}'),
        ("a;b\n1.234;x\n999;y\n12.345;z\n", f'numbers such as "1.234" {DECIMALS}'),
        ("a,b\n980,x\n750,y\n2.340,z\n", f'numbers such as "2.340" {DECIMALS}'),
        ("a\tb\n98\tx\n75\ty\n2.341\tz\n1.234\tx\n3.211\tz\n", f'numbers such as "2.341" {DECIMALS}'),
        ("Patient,Ana\ntime,value\n1,20\n2,30\n", f"line 2: {HEADERS} 2"),
        ("depth,temp\nsurface,none\nbottom,none\n1,5\n2,6\n", f"line 3: {HEADERS} 3"),
        ("Patient,Ana\nDate,2024-01-01\n\nward,n\nA,20\nB,30\n", f"line 4: {HEADERS} 4"),
    ],
)
def test_ambiguous_table_is_rejected(run: Run, csv_file: Write, content: str, message: str) -> None:
    path = csv_file(content)
    outcome = run("csv", path)
    assert (outcome.status, outcome.output, outcome.log) == (1, "", [f"{path}: {message}"])


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("a\n1,5\n2,5\n", ["--decimal", ","], {"a": 2}),
        ("a\n1,5\n2,5\n", ["--delimiter", ","], {"a": 1.5, "": 5}),
        ("a;b\n1,234;x\n2,345;y\n", ["--decimal", ","], {"a": 1.7895}),
        ("a;b\n1,234;x\n2,345;y\n", ["--decimal", "."], {"a": 1789.5}),
        ("Patient,Ana\ntime,value\n1,20\n2,30\n", ["--header-line", "2"], {"time": 1.5, "value": 25}),
        ("x-axis,1\nsecond,Volt\n1,20\n2,30\n", ["--header-line", "1"], {"x-axis": 1.5, "1": 25}),
        ("ward,n\n\nname,age\nAna,20\n", ["--header-line", "3"], {"age": 20}),
    ],
)
def test_option_resolves_an_ambiguous_table(
    read: ReadJson, content: str, options: list[str], expected: dict[str, float]
) -> None:
    assert averages(read(content, *options)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("content", "average", "unit", "separator"),
    [
        ('v,w\n"1,234",x\n"12,345",y\n999,z\n', 14578 / 3, "", ","),
        ("v;w\n1.234,50;x\n2.000,00;y\n", 1617.25, "", "."),
        ("v;w\n1'234.50;x\n2'000.00;y\n", 1617.25, "", "'"),
        ("v;w\n1\u202f234,5;x\n12\u00a0345,5;y\n", 6790, "", " "),
        ("v,w\n5%,x\n10 %,y\n", 7.5, "%", ""),
        ('v,w\n"$1,234.50",x\n$999.00,y\n($5.00),z\n-$5,z\n', 555.875, "$", ","),
        ("v,w\n$.05,x\n$1.50,y\n-$.25,z\n", 1.3 / 3, "$", ""),
        ("v;w\n10,50 €;x\n€ 20,50;y\n", 15.5, "€", ""),
        ("v;w\n10 €;x\n20 €;y\n7,5 €;z\n", 12.5, "€", ""),
        ("v,w\n1.250,0.5\n2,0.25\n3.375,0.5\n", 2.20833333, "", ""),
        ("v,w\n1.250,1\n2.375,2\n1500,3\n", 501.2083333, "", ""),
        ("v,w\nEUR 10,x\nEUR 20,y\n", 15, "EUR", ""),
    ],
)
def test_formatted_numbers_are_read_and_their_format_is_reported(
    read: ReadJson, content: str, average: float, unit: str, separator: str
) -> None:
    column = read(content)["columns"][0]
    assert (column["unit"], column["thousands_separator"]) == (unit, separator)
    assert column["average"] == pytest.approx(average)


@pytest.mark.parametrize(
    "content",
    [
        'v,w\n1500,x\n2500,x\n"1,234",y\n',
        "v,w\n5,x\n6,x\n5%,y\n",
        "v,w\n$5,x\n$6,x\n€7,y\n",
        "v;w\n1,5;x\n2,5;x\n1.000;y\n",
    ],
    ids=["separator", "percent", "two currencies", "point beside decimal comma"],
)
def test_number_in_another_format_is_reported_and_excluded(read: ReadJson, content: str) -> None:
    column = read(content)["columns"][0]
    assert column["count"] == 2
    assert [item["line"] for item in column["not_a_number"]["first"]] == [4]


@pytest.mark.parametrize("rows", [1, 20_000], ids=["by csv", "by polars"])
@pytest.mark.parametrize(
    "content", ["v;w\n6.745;1,5\n13.281;2,5\n16.17;3,5\n", 'v,w\n"6,745",1.5\n"13,281",2.5\n"16,17",3.5\n']
)
def test_decimals_in_the_other_mark_are_not_thousands(read: ReadJson, content: str, rows: int) -> None:
    header, body = content.split("\n", 1)
    column = read(f"{header}\n{body * rows}")["columns"][0]
    assert (column["type"], column["numbers"]) == ("text", 0)


@pytest.mark.parametrize(
    "cell", ["612 345 678", "192.168.100.200", "1993.04.30", "12:30", "2020-01-01", "08001-2", "$", "1,2,3"]
)
def test_codes_dates_and_addresses_are_text(read: ReadJson, cell: str) -> None:
    assert read(f'v,w\n"{cell}",1\n"{cell}",2\n')["columns"][0]["type"] == "text"


def test_leading_zeros_and_total_rows_are_reported(run: Run, csv_file: Write) -> None:
    output = run("csv", csv_file("zip,n\n08001,1\n28013,2\nTotal,3\n")).output
    assert "! zip: numbers with leading zeros; if they are codes, their average means nothing" in output
    assert '! a row at the end looks like a total or a note and is included in the statistics: line 4 "Total"' in output


def test_total_row_in_the_middle_of_the_file_is_not_reported(read: ReadJson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 64)
    assert read("name,n\n" + "Ann,1\nTotal,1\n" * 50 + "Ann,2\n" * 20)["total_rows"]["count"] == 0


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("state,n\nAL,1\nAK,2\nSource: Census, 2010\n", 'line 4 "Source: Census"'),
        ("state,n\nAL,1\nAK,2\n\nPrinted,2010\n", 'line 5 "Printed"'),
    ],
)
def test_note_below_the_table_is_reported(run: Run, csv_file: Write, content: str, place: str) -> None:
    assert place in run("csv", csv_file(content)).output


def test_blank_lines_between_all_rows_are_not_reported_as_notes(read: ReadJson) -> None:
    assert read("v,w\n\n1,2\n\n3,4\n\n5,6\n")["total_rows"]["count"] == 0


def test_decimal_commas_are_found_below_a_header_without_row_names(read: ReadJson) -> None:
    assert averages(read('"x";"y"\n"1";1,5;2\n"2";2,5;3\n')) == {"": 1.5, "x": 2, "y": 2.5}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b'{"a": 1}\n', "a JSON document"),
        (b'[{"a": 1},\n {"a": 2}]', "a JSON document"),
        (b"<!DOCTYPE html>\n<html></html>", "an HTML page"),
        (b"\n <html>\n", "an HTML page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<a/>", "an XML document"),
        ('{"a": 1}\n'.encode("utf-16"), "a JSON document"),
    ],
)
def test_json_html_and_xml_documents_are_rejected_by_name(run: Run, csv_file: Write, content: bytes, name: str) -> None:
    path = csv_file(content)
    outcome = run("csv", path)
    assert outcome.status == 1
    assert outcome.log == [f"{path}: not a CSV file but {name}; check where it was downloaded from"]


def test_columns_are_selected_by_name_or_number(read: ReadJson) -> None:
    content = 'a,"b,c",d,a\n1,2,3,4\n5,6,7,8\n'
    assert [column["name"] for column in read(content, "--columns", "3,a")["columns"]] == ["a", "d", "a"]
    assert averages(read(content, "--columns", "b,c", "--columns", "4")) == {"b,c": 4, "a": 6}


def test_unknown_column_is_rejected(run: Run, csv_file: Write) -> None:
    path = csv_file("a,b\n1,2\n")
    assert run("csv", path, "--columns", "a,x").log == [f'{path}: no column "x"; it has a, b']


@pytest.mark.parametrize("rows", [4, 100_000], ids=["by csv", "by polars"])
def test_quartiles_are_exact(read: ReadJson, rows: int) -> None:
    content = "v,w\n" + "".join(f"{number},x\n" for number in range(rows))
    column = read(content, "--quartiles")["columns"][0]
    assert column["lower_quartile"] == (rows - 1) * 0.25
    assert column["median"] == (rows - 1) * 0.5
    assert column["upper_quartile"] == (rows - 1) * 0.75


def test_standard_input_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"v\n1\n3\n")))
    monkeypatch.setattr("sys.stdin", stdin)
    assert json.loads(run("csv", "-", "--json").output)["columns"][0]["average"] == 2


def test_one_unreadable_file_of_several_fails_the_run(run: Run, csv_file: Write) -> None:
    path = csv_file("v\n1\n3\n")
    outcome = run("csv", path.parent, path.name, "none.csv", path.name, "--json")
    assert outcome.status == 1
    assert [json.loads(line)["rows"] for line in outcome.output.splitlines()] == [2, 2]
    assert outcome.log == [f"{path.parent}/none.csv: no such file; check the path and the file's name"]
