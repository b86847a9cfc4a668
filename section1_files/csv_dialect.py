"""How a CSV file is written: its delimiter and its decimal mark, found out from its first lines."""

import csv
import re
from dataclasses import dataclass

from csv_cells import BLANKS, CellRule

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
DECIMALS = {".": "point", ",": "comma"}
HINT = re.compile(r"sep=([,;|\t])\n")
COMMA_NUMBER = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
POINT_NUMBER = re.compile(r"[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Dialect:
    """One delimiter between cells; `"` quotes a cell and is doubled within; `.` or `,` as decimal mark.

    `hint` says whether the first line only names the delimiter, as Excel writes it: `sep=;`.
    """

    delimiter: str
    decimal: str
    hint: bool = False


def records_of(sample: str, delimiter: str) -> list[list[str]]:
    """The records of a text that hold something."""
    return [cells for cells in csv.reader(sample.splitlines(keepends=True), delimiter=delimiter) if any(cells)]


def guess_delimiter(sample: str) -> str:
    """The delimiter under which most lines have as many cells as the first line; ties go to the more numbers.

    In `a;b` over `1,5;2,5` the comma makes one cell of the first line and three of the second: it is no delimiter.
    A file of one column has none; the comma stands in for it, or the semicolon where its numbers hold commas.
    """
    best, best_score = ",", (0.0, 0.0)
    for delimiter in DELIMITERS:
        records = records_of(sample, delimiter)
        width = len(records[0]) if records else 0
        if width < 2:
            continue
        fitting = [cells for cells in records if len(cells) == width]
        if len(records) > 1 and len(fitting) == 1:
            continue
        cells = [cell.strip(BLANKS) for record in fitting for cell in record]
        decimal = guess_decimal(cells, delimiter)
        rule = CellRule(decimal)
        filled = sum(rule.number(cell) is not None or rule.is_missing(cell) for cell in cells) / len(cells)
        score = (round(len(fitting) / len(records), 1), filled)
        if score > best_score:
            best, best_score = delimiter, score
    if best_score == (0.0, 0.0):
        lines = [line.strip(BLANKS) for line in sample.splitlines()[1:] if line.strip(BLANKS)]
        if lines and sum(bool(COMMA_NUMBER.fullmatch(line)) for line in lines) > len(lines) / 2:
            return ";"
    return best


def guess_decimal(cells: list[str], delimiter: str) -> str:
    """The decimal mark that more numbers use; beside a comma as delimiter it can only be the point.

    (`"1,234"` in a comma-separated file is a thousands separator as often as not: it is left to the user to say.)
    """
    if delimiter == ",":
        return "."
    commas = sum(bool(COMMA_NUMBER.fullmatch(cell)) for cell in cells)
    points = sum(bool(POINT_NUMBER.fullmatch(cell)) for cell in cells)
    return "," if commas > points else "."


def guess_dialect(sample: str, delimiter: str | None = None, decimal: str | None = None) -> Dialect:
    """The dialect of a text, from its first lines; what is given is not guessed."""
    hint = HINT.match(sample)
    if hint:
        sample = sample[hint.end() :]
    if delimiter is None:
        delimiter = hint[1] if hint else guess_delimiter(sample)
    if decimal is None:
        cells = [cell.strip(BLANKS) for record in records_of(sample, delimiter) for cell in record]
        decimal = guess_decimal(cells, delimiter)
    return Dialect(delimiter, decimal, hint is not None)
