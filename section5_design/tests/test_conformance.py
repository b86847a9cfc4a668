"""design/conformance.md says what the code does."""

import re
from pathlib import Path

from ingest.dimse.negotiation import QUERY_CLASSES, STORAGE_COMMITMENT, TRANSFER_SYNTAXES, VERIFICATION
from query.attributes import COLUMNS, COUNTED, LEVELS
from query.dimse import TITLE
from query.pixels import MAX_DECODED
from query.qido import MAX_RESULTS
from query.urls import resources

TEXT = (Path(__file__).parent.parent / "design" / "conformance.md").read_text(encoding="utf-8")


def rows(header: str) -> list[list[str]]:
    """The cells of the table under a header."""
    found = TEXT.split(f"| {header} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found]


def test_every_sop_class_and_transfer_syntax_is_named() -> None:
    assert {uid for _, uid in rows("Query/Retrieve SOP class | UID")} == QUERY_CLASSES
    assert {uid for _, uid in rows("transfer syntax | UID")} == TRANSFER_SYNTAXES
    assert VERIFICATION in TEXT
    assert STORAGE_COMMITMENT in TEXT


def test_every_key_is_named() -> None:
    table = rows("level | matched and returned | computed and returned")
    assert [level for level, *_ in table] == list(LEVELS)
    for level, matched, computed in table:
        assert set(matched.split(", ")) == set(COLUMNS[level])
        assert {name for name in computed.split(", ") if name != "-"} == set(COUNTED[level])


def test_every_resource_is_named() -> None:
    named = {address.strip("`"): methods for address, methods in rows("resource | methods")}
    served = {
        "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(one.pattern)): ", ".join(one.callback.views) for one in resources
    }
    assert named == served


def test_limits_are_those_of_the_code() -> None:
    assert f"AE title, `{TITLE}`" in TEXT
    assert f"{MAX_RESULTS:,} results" in TEXT.replace("\n  ", " ") or f"at most {MAX_RESULTS:,}" in TEXT
    assert f"more than {MAX_DECODED >> 20} MB" in TEXT
