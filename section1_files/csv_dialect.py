"""Guess the dialect of a CSV file: delimiter, decimal mark, header line and number format."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from csv_blocks import parse_records
from errors import InputError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
DECIMALS = {".": "point", ",": "comma"}
NA_VALUES = ("", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "null", "None")
WHITESPACE = " \t"
SCORED_ROWS, EVIDENCE_ROWS = 200, 1000  # of the sample

SEP_LINE = re.compile(r"sep=([,;|\t])\n", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE | re.ASCII)
CURRENCY = r"(?:[A-Z]{0,3}[$\u00a2-\u00a5\u20a0-\u20cf]|USD|EUR|GBP|CHF|JPY|CAD|AUD|MXN|COP|BRL|ARS|CLP|PEN|CNY|INR)"
FORMATTED = re.compile(
    rf"(?P<open>\()?(?P<sign>[+-])?(?P<before>{CURRENCY})?[ \u00a0]?(?P<sign2>[+-])?"
    r"(?P<digits>(?:[1-9][0-9]{0,2}(?:[.,'’ \u00a0\u202f][0-9]{3})+|[0-9]+)(?:[.,][0-9]+)?|[.,][0-9]+)"
    rf"[ \u00a0\u202f]?(?P<after>{CURRENCY}|%)?(?P<close>\))?"
)
NUMBER_START = re.compile(r"[+-]?[.,]?[0-9]|$")  # or nothing
YEAR = re.compile(r"(?:19|20)[0-9]{2}")
IPV4 = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
SPACES = str.maketrans("\u00a0\u202f’", "  '")
# Evidence for the decimal mark, with C for the mark in question and G for the other one, which may group digits.
DECIMAL_EVIDENCE = {
    "sure": r"[+-]?(?:[0-9]*C(?:[0-9]{1,2}|[0-9]{4,})(?:[eE][+-]?[0-9]+)?|0?C[0-9]+|[0-9]{4,}C[0-9]{3}"
    r"|[1-9][0-9]{0,2}(?:G[0-9]{3})+C[0-9]+|[1-9][0-9]{0,2}(?:G[0-9]{3}){2,})",
    "possible": r"[+-]?[1-9][0-9]{0,2}C[0-9]{3}",
}
EVIDENCE = {
    (mark, kind): re.compile(pattern.replace("C", re.escape(mark)).replace("G", re.escape(other)))
    for mark, other in ((".", ","), (",", "."))
    for kind, pattern in DECIMAL_EVIDENCE.items()
}


class FormattedNumber(NamedTuple):
    """A number with a unit (`%` or a currency; empty where there is none) or a separator of thousands."""

    value: float
    unit: str
    separator: str
    is_certain: bool  # 1.234,5 and 1.234.567, but not 1.234, which may be a decimal


@dataclass(frozen=True)
class CellRule:
    """How cells are read: decimal mark, separator of thousands, words for a missing value (letter case ignored)."""

    decimal: str = "."
    grouping: str | None = None
    na_values: Iterable[str] = NA_VALUES

    @cached_property
    def na_words(self) -> frozenset[str]:
        """The words for a missing value in lower case, and the empty cell."""
        return frozenset({"", *(word.strip(WHITESPACE).lower() for word in self.na_values)})

    @cached_property
    def has_numeric_na(self) -> bool:
        """Whether a word for a missing value is a number, such as -999."""
        return any(self.parse_number(word) is not None for word in self.na_words)

    def is_missing(self, cell: str) -> bool:
        """Return whether a cell, already stripped, stands for a missing value."""
        return cell.lower() in self.na_words

    def parse_number(self, cell: str) -> float | None:
        """Return the plain number in a stripped cell, also nan, and infinity for `inf` and `1e400`; else None."""
        if self.decimal == ",":
            if "." in cell:
                return None
            cell = cell.replace(",", ".")
        return float(cell) if NUMBER.fullmatch(cell) or NOT_FINITE.fullmatch(cell) else None

    def parse_formatted(self, cell: str) -> FormattedNumber | None:
        """Return a number with separators of thousands, a currency or a percent sign; None where it is not one.

        Percent are not divided: 12.5 % is 12.5. Parentheses mean a negative amount, as in accounting.
        """
        match = FORMATTED.fullmatch(cell)
        if not match or (match["before"] and match["after"]) or (match["sign"] and match["sign2"]):
            return None
        if bool(match["open"]) != bool(match["close"]) or IPV4.fullmatch(cell):
            return None
        integer, mark, fraction = match["digits"].translate(SPACES).partition(self.decimal)
        separators = set(re.sub("[0-9]", "", integer))
        separator = separators.pop() if separators else ""
        if separators or separator not in {"", self.grouping, "'", " "} or not (fraction or "0").isdecimal():
            return None
        if separator and not re.fullmatch(rf"[1-9][0-9]{{0,2}}(?:{re.escape(separator)}[0-9]{{3}})+", integer):
            return None
        if separator == " " and not mark and "\u00a0" not in cell and "\u202f" not in cell:
            return None  # 612 345 678 may be a telephone number
        unit = match["before"] or match["after"] or ""
        if not unit and not separator:
            return None
        negative = match["open"] or "-" in {match["sign"], match["sign2"]}
        value = float(integer.replace(separator, "") + "." + fraction)
        is_certain = bool(mark) or len(integer.split(separator or " ")) > 2
        return FormattedNumber(-value if negative else value, unit, separator, is_certain)

    def has_other_decimals(self, cell: str) -> bool:
        """Return whether a cell is a number with the other decimal mark for certain: 16,17 where that is a point."""
        other = "," if self.decimal == "." else "."
        return bool(FORMATTED.fullmatch(cell) and EVIDENCE[other, "sure"].fullmatch(_strip_unit(cell)))


@dataclass(frozen=True)
class Options:
    """The user's choices; None means to guess. `columns` are names, or numbers from 1."""

    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    header_line: int | None = None
    header: bool = True
    na_values: Sequence[str] = NA_VALUES
    columns: Sequence[str] = ()
    population: bool = False
    quartiles: bool = False


@dataclass(frozen=True)
class Dialect:
    """Delimiter, decimal mark and layout of a file; `"` quotes a cell and is doubled within.

    `grouping` is the separator of thousands that the file may use. `header_line` counts from 1; `skipped` has the
    lines above it that are not part of the table. `width` is the number of columns, and `unnamed` where the header
    lacks names ("first", "last"; None where it does not).
    """

    delimiter: str
    decimal: str = "."
    grouping: str | None = None
    header_line: int = 1
    skipped: Sequence[tuple[int, str]] = ()
    blank_lines: int = 0
    unnamed: str | None = None
    width: int = 1


class Record(NamedTuple):
    """A record of the sample that is not blank."""

    line: int
    cells: list[str]

    @property
    def filled(self) -> int:
        """Number of cells that hold something."""
        return sum(bool(cell) for cell in self.cells)


class Candidate(NamedTuple):
    """A way to read the sample: `rows[0]` is the header."""

    delimiter: str
    width: int
    rows: list[Record]
    unnamed: str | None
    is_ambiguous: bool
    other_header: int | None
    score: float


def guess_dialect(sample: str, options: Options, *, complete: bool) -> Dialect:
    """Return the dialect of a text from its first lines, each ended by LF; `complete` if these are the complete file.

    Raises:
        InputError: No data, or two readings are plausible: the commas may be delimiters or decimal marks, or two lines
            may be the header.
    """
    sep_line = SEP_LINE.match(sample)
    first = 1 if sep_line else 0
    delimiter, decimal = options.delimiter or (sep_line[1] if sep_line else None), options.decimal
    skip = options.header_line - 1 if options.header_line else first
    find_header = options.header_line is None
    candidates = [
        candidate
        for mark in ([delimiter] if delimiter else DELIMITERS)
        if (candidate := _read_candidate(_parse(sample, mark, skip, complete=complete), mark, decimal, find_header))
    ]
    if not delimiter:
        candidates = [candidate for candidate in candidates if candidate.width > 1]
    best = max(candidates, key=lambda candidate: (candidate.score, candidate.width), default=None)
    is_ambiguous = best is not None and best.is_ambiguous and not delimiter
    if best is None or is_ambiguous:  # one column
        mark = delimiter or (";" if decimal == "," else ",")
        single = _read_candidate(_parse(sample, ";", skip, complete=complete), mark, decimal, find_header=False)
        if single is None:
            advice = "fetch or export it again" if find_header else "check --header-line"
            raise InputError(None, "no data", advice)
        commas = [EVIDENCE[",", kind] for kind in DECIMAL_EVIDENCE]
        with_comma = [row for row in single.rows[1:] if any(comma.fullmatch(row.cells[0]) for comma in commas)]
        if (is_ambiguous or with_comma) and not delimiter and not decimal:
            advice = "decide with --delimiter , or with --decimal ,"
            line = (best.rows[1] if best else with_comma[0]).line
            raise InputError(None, "the commas may be delimiters or decimal marks", advice, line)
        best = single if best is None or decimal == "," else best
    header_line = best.rows[0].line
    if best.other_header:
        advice = f"decide with --header-line {header_line} or with --header-line {best.other_header}"
        raise InputError(None, f"this line or line {header_line} may be the header", advice, best.other_header)
    above = sample.split("\n", header_line)[first : header_line - 1]
    return Dialect(
        best.delimiter,
        *guess_number_marks([row for row in best.rows[1:] if len(row.cells) == best.width], best.delimiter, decimal),
        header_line,
        tuple((number, text) for number, text in enumerate(above, 1 + first) if text.strip(WHITESPACE)),
        sum(not text.strip(WHITESPACE) for text in above),
        best.unnamed,
        best.width,
    )


def _parse(sample: str, delimiter: str, skip: int, *, complete: bool) -> list[Record]:
    """Return the records that are not blank, without the last one where it may be cut off."""
    text = "".join(sample.split("\n", skip)[skip:]).encode()
    found = parse_records(text, 1 + skip, delimiter)
    rows = ([cell.strip(WHITESPACE) for cell in cells] for cells in found.cells)
    records = [Record(line, cells) for line, cells in zip(found.starts, rows, strict=True)]
    if found.length < len(text):  # a quoted cell that does not end
        records.append(Record(found.next_line, text[found.length :].decode().split(delimiter)))
    if not complete and len(records) > 1:
        records.pop()
    return [record for record in records if any(record.cells)]


def _read_candidate(records: list[Record], delimiter: str, decimal: str | None, find_header: bool) -> Candidate | None:
    """Find the table in the records, and score how well its rows fit together."""
    records = _skip_comments(records) if find_header or not records else records
    if not records:
        return None
    widths = Counter(len(record.cells) for record in records)
    width = len(records[0].cells)
    if not find_header or width == 1 or widths[width] * 2 < len(records):
        width = max(widths, key=lambda number: (widths[number], number))
    start, other = _find_header(records, width) if find_header else (0, None)
    unnamed, is_ambiguous = None, False
    before = records[start - 1] if start else None
    is_header = _looks_like_header(records[start]) or (before and _has_merged_names(before, records[start:]))
    if before and not is_header:
        start -= 1
    header, rows = records[start], records[start:]
    if len(header.cells) < width or (before and not is_header):  # the header lacks names; R leaves out the first one
        has_row_names = header.filled == width - 1 > 1 and widths[width] >= 0.9 * (len(rows) - 1)
        is_padded = all(not record.cells[-1] for record in rows[1:])
        is_ambiguous = delimiter == "," and header.filled * 2 == width and not is_padded
        if len(header.cells) < width:
            unnamed = "first" if has_row_names and not is_padded else "last"
    fitting = [record for record in rows[1:] if len(record.cells) == width]
    cells = [cell for record in fitting[:SCORED_ROWS] for cell in record.cells]
    rule = CellRule(guess_number_marks(fitting[:SCORED_ROWS], delimiter, decimal, strict=False)[0])
    filled = sum(_looks_like_number(cell, rule) or rule.is_missing(cell) for cell in cells) / (len(cells) or 1)
    fit = (len(fitting) + 1) / len(rows) if fitting or len(rows) == 1 else 0.0
    is_ambiguous &= filled == 1
    has_names = _looks_like_header(header)
    score = fit + filled - (0.25 if start else 0.0) - (0.5 if unnamed else 0.0) - (0.0 if has_names else 0.25)
    return Candidate(delimiter, width, rows, unnamed, is_ambiguous, other, score)


def _skip_comments(records: list[Record]) -> list[Record]:
    """Return the records below leading lines that start with #, except for a header that starts with it itself."""
    start = next((index for index, record in enumerate(records) if not record.cells[0].startswith("#")), 0)
    return records[start:] if start and _looks_like_header(records[start]) else records[max(0, start - 1) :]


def _find_header(records: list[Record], width: int) -> tuple[int, int | None]:
    """Return the index of the header: the first record as wide as the table, unless it is a padded title.

    Where another line may be the header as well, its number is returned, too.
    """
    used = max(at + 1 for record in records for at, cell in enumerate(record.cells[:width]) if cell)
    for index, record in enumerate(records[:50]):
        following = records[index + 1 : index + 60]
        if len(record.cells) < width or (len(record.cells) > width and following and _looks_like_header(following[0])):
            continue
        is_padded = record.filled < used and all(record.cells[: record.filled])
        if not (is_padded and _is_title(record, following, used)) and not _has_merged_names(record, following):
            return _skip_names_and_values(records, index) if used == 2 else (index, None)
    return 0, None


def _skip_names_and_values(records: list[Record], start: int) -> tuple[int, int | None]:
    """Return the index of the header below lines such as `Patient,Ana`, which are as wide as a table of two columns.

    Several such lines, some with a number as their value, stand above the header. Otherwise they may also be units or
    words below it, as may be names below a blank line: then the number of the other line is returned as well.
    """
    end = start + 50
    is_number = [
        [bool(NUMBER_START.match(cell)) for cell in (*record.cells, "")[:2]] for record in records[: end + SCORED_ROWS]
    ]
    for index in range(start + 1, min(len(records) - 1, end)):
        leading, rows = is_number[start:index], is_number[index + 1 :]
        if not _looks_like_header(records[index]) or sum(second for _, second in rows) < 0.9 * len(rows):
            continue
        has_units = any(cell[:1] in ("(", "[") for record in records[start : index + 1] for cell in record.cells)
        has_words = not any(first for first, _ in is_number[start : index + 1])
        if has_words and not has_units and sum(first for first, _ in rows) >= 0.9 * len(rows):
            is_certain = len(leading) > 1 and any(second for _, second in leading)
            return (index, None) if is_certain else (start, records[index].line)
        numbers = sum(_looks_like_number(record.cells[-1], CellRule()) for record in records[start + 1 : index])
        if records[index].line > records[index - 1].line + 1 and numbers * 2 <= len(leading) - 1:
            return start, records[index].line
    return start, None


def _is_title(title: Record, following: list[Record], width: int) -> bool:
    """Return whether the records after a padded line start with a full header, maybe below further padded lines."""
    # A header is full, or lacks only the first name, above the names of the rows.
    header = next((at for at, row in enumerate(following) if row.filled >= width - (not row.cells[0])), None)
    if header is None or not _looks_like_header(following[header]):
        return False
    rows = following[header + 1 : header + 10]
    if header > 8 or not all(_looks_like_header(record) for record in following[:header]):
        longest = max(record.filled for record in (title, *following[:header]))
        return sum(record.filled > longest for record in rows) * 2 > len(rows)
    return not all(_looks_like_header(record) for record in rows)


def _has_merged_names(record: Record, following: list[Record]) -> bool:
    """Return whether a record has gaps between its names, and years stand below them: `A,B,` above `,1999,2000`."""
    if len(following) < 2 or following[0].cells[0] or not following[1].cells[0]:
        return False
    names = [cell for cell in following[0].cells if cell]
    return len(names) > record.filled - 1 and all(map(YEAR.fullmatch, names)) and "" in record.cells[1:]


def _looks_like_header(record: Record) -> bool:
    """Return whether a record holds names, or names and years; without the first name, years in ascending order."""
    numbers = [cell for cell in record.cells if _looks_like_number(cell, CellRule())]
    is_ascending = len(numbers) > 1 and numbers == sorted({*numbers})
    return not numbers or (all(map(YEAR.fullmatch, numbers)) and (bool(record.cells[0]) or is_ascending))


def _looks_like_number(cell: str, rule: CellRule) -> bool:
    return rule.parse_number(cell) is not None or bool(FORMATTED.fullmatch(cell))


def guess_number_marks(
    rows: Sequence[Record], delimiter: str, decimal: str | None = None, *, strict: bool = True
) -> tuple[str, str | None]:
    """Return decimal mark and separator of thousands of rows of equal length; `strict` rejects ambiguous columns."""
    if decimal is not None:
        return decimal, "," if decimal == "." else "."
    sure: Counter[str] = Counter()
    possible = None
    suspicious = {",": "", ";": ",."}.get(delimiter, ",")
    for column in zip(*(record.cells for record in rows[:EVIDENCE_ROWS]), strict=True):
        stripped = [_strip_unit(cell) for cell in column if cell and not IPV4.fullmatch(cell)]
        integers = [cell for cell in stripped if cell.isdecimal()]
        others = [cell for cell in stripped if not cell.isdecimal()]
        found = {key: [cell for cell in others if pattern.fullmatch(cell)] for key, pattern in EVIDENCE.items()}
        if (sum(map(len, found.values())) + len(integers)) * 2 <= len(stripped):
            continue
        for mark in DECIMALS:
            sure[mark] += len(found[mark, "sure"])
            groups = found[mark, "possible"]
            is_suspicious = mark in suspicious and len(groups) * 2 > len(stripped)
            if is_suspicious or (mark != delimiter and _looks_grouped(groups, integers)):
                possible = possible or groups[0]
    if sure[","] > sure["."]:
        return ",", "."
    if not sure["."] and possible and strict:
        problem = f'numbers such as "{possible}" may have decimals or a separator of thousands'
        raise InputError(None, problem, "decide with --decimal , or with --decimal .")
    return ".", "," if sure["."] or delimiter == "," else None


def _looks_grouped(groups: list[str], integers: list[str]) -> bool:
    """Return whether numbers like 1.234 stand beside integers below 1000 only, as thousands do and decimals seldom."""
    small = sum(len(cell) <= 3 and cell != "0" for cell in integers)
    is_untrimmed = any(cell.endswith("0") for cell in groups)  # 2.340 beside 980: decimals would be 2.34 or 980.000
    return all(len(cell) <= 3 for cell in integers) and min(small, len(groups)) >= (1 if is_untrimmed else 2)


def _strip_unit(cell: str) -> str:
    return re.sub(rf"{CURRENCY}|[ \u00a0\u202f'’%()]", "", cell)
