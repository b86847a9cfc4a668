"""What a cell says: a number, a missing value, or text."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

BLANKS = " \t"
MISSING_TOKENS = ("", "NA", "N/A", "#N/A", "null", "None")
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class CellRule:
    """How cells are read: the decimal mark, and the words that stand for a missing value (letter case ignored)."""

    decimal: str = "."
    missing: Iterable[str] = MISSING_TOKENS
    missing_words: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "missing_words", frozenset(word.strip(BLANKS).lower() for word in self.missing))

    def is_missing(self, cell: str) -> bool:
        """Whether a cell, already without blanks around it, stands for a missing value."""
        return not cell or cell.lower() in self.missing_words

    def number(self, cell: str) -> float | None:
        """The number in a cell, already without blanks around it; None where it is none.

        ASCII digits with an optional sign, decimal mark and exponent. `nan`, `inf` and what is too large for a double
        (`1e400`) come back as such. `1_000`, `0x10`, digits of other scripts and thousands separators are no numbers.
        """
        if self.decimal == ",":
            if "." in cell:
                return None
            cell = cell.replace(",", ".")
        return float(cell) if NUMBER.fullmatch(cell) or NOT_FINITE.fullmatch(cell) else None
