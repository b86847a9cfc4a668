"""The scanner returns what pydicom returns, or leaves the file to pydicom; never anything else."""

import importlib.resources
import io
import struct
import tracemalloc
from pathlib import Path

import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.header import Header, RefusedError, build_header, read_header
from ingest.header_scanner import MAX_ELEMENTS, MAX_NESTED, HeaderBoundsError, HeaderScanner

FOLDERS = [Path(pydicom.__file__).parent / "data", Path(str(importlib.resources.files("data_store")))]  # pydicom-data
FILES = sorted(path for folder in FOLDERS for path in folder.rglob("*") if path.is_file() and path.suffix != ".py")
BY_NAME = {path.name: path.read_bytes() for path in FILES}
CT = BY_NAME["CT_small.dcm"]
IMPLICIT = BY_NAME["MR_small_implicit.dcm"]
DATA_SET_AT = CT.index(b"\x08\x00\x05\x00")


def scan(content: bytes, part: int = 1 << 16) -> Header | str | None:
    """The header or the reason for refusal by the scanner; None when pydicom is to be asked."""
    scanner = HeaderScanner()
    for at in range(0, len(content), part):
        scanner.feed(memoryview(content)[at : at + part])
    found = scanner.finish()
    if found is None:
        return None
    attributes, missing = found
    if missing:
        return f"is truncated: {missing} bytes are missing at its end"
    try:
        return build_header(attributes, str(attributes["TransferSyntaxUID"]))
    except RefusedError as error:
        return str(error)


def outcome(found: Header | str | None) -> Header | str:
    """The header or the reason; how many bytes of a truncated file are missing does not matter."""
    if isinstance(found, str):
        return found.partition(":")[0]
    return found or "unusual"


def read(content: bytes) -> Header | str:
    """The same by pydicom."""
    try:
        return read_header(io.BytesIO(content), len(content))
    except RefusedError as error:
        return str(error)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_of_pydicom_are_read_as_pydicom_reads_them(path: Path) -> None:
    content = path.read_bytes()
    assert scan(content) in (None, read(content))


def test_most_files_of_pydicom_need_no_pydicom() -> None:
    usual = [path.name for path in FILES if isinstance(scan(path.read_bytes()), Header)]
    assert len(usual) >= 60
    assert {"CT_small.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm", "rtplan.dcm", "test-SR.dcm"} <= set(usual)


@pytest.mark.parametrize(
    "name", ["image_dfl.dcm", "MR_small_bigendian.dcm", "no_meta.dcm", "badVR.dcm", "chrGerm.dcm", "chrH31.dcm"]
)
def test_unusual_files_are_left_to_pydicom(name: str) -> None:
    assert scan(BY_NAME[name]) is None


def test_executable_preambles_are_not_accepted() -> None:
    assert scan(b"MZ" + CT[2:]) is None


@pytest.mark.parametrize("part", [1, 7, 131, 4096])
@pytest.mark.parametrize("content", [CT, IMPLICIT, BY_NAME["MR_small_RLE.dcm"]], ids=["explicit", "implicit", "RLE"])
def test_parts_of_any_size_give_the_same_header(content: bytes, part: int) -> None:
    assert scan(content, part) == read(content)


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(["CT_small.dcm", "MR_small_implicit.dcm", "rtplan.dcm"]), end=st.integers(0, 40_000))
def test_truncated_files_are_never_accepted_alone(name: str, end: int) -> None:
    cut = BY_NAME[name][:end]
    assert outcome(scan(cut)) in ("unusual", outcome(read(cut)))


@settings(max_examples=1000, deadline=None)
@given(
    name=st.sampled_from(["CT_small.dcm", "MR_small_implicit.dcm", "rtplan.dcm", "test-SR.dcm"]),
    position=st.integers(0, 4000),
    replacement=st.binary(min_size=1, max_size=8) | st.sampled_from([b"\\", b"~", b"=", b"\x1b", b"\xff" * 4, b"SQ"]),
    part=st.sampled_from([1000, 1 << 16]),
)
def test_altered_files_are_read_as_pydicom_reads_them(name: str, position: int, replacement: bytes, part: int) -> None:
    content = BY_NAME[name]
    altered = content[:position] + replacement + content[position + len(replacement) :]
    assert outcome(scan(altered, part)) in ("unusual", outcome(read(altered)))


TEXT = st.text(st.characters(codec="latin-1"), max_size=70)


@settings(max_examples=500, deadline=None)
@given(
    name=TEXT,
    identifier=TEXT,
    date=TEXT,
    charset=st.sampled_from(["", "ISO_IR 100", "ISO_IR 13", "utf_16", "ISO_IR 192"]),
)
@example(name="Doe^Jane ", identifier=" 12 ", date="20240101", charset="")
def test_texts_are_read_as_pydicom_reads_them(name: str, identifier: str, date: str, charset: str) -> None:
    values = [(0x0008, 0x0005, b"CS", charset), (0x0008, 0x0020, b"DA", date)]
    values += [(0x0010, 0x0010, b"PN", name), (0x0010, 0x0020, b"LO", identifier)]
    body = b"".join(explicit(group, number, vr, text.encode("latin-1")) for group, number, vr, text in values)
    rest = explicit(0x0008, 0x0016, b"UI", b"1.2") + explicit(0x0008, 0x0018, b"UI", b"1.2")
    body = body[: body.index(b"\x08\0\x20\0")] + rest + body[body.index(b"\x08\0\x20\0") :]
    body += explicit(0x0020, 0x000D, b"UI", b"1.2") + explicit(0x0020, 0x000E, b"UI", b"1.2")
    content = CT[:DATA_SET_AT] + body
    assert scan(content) in (None, read(content))


def explicit(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def test_a_million_empty_elements_are_refused_in_little_memory() -> None:
    bomb = CT[:DATA_SET_AT] + b"".join(
        struct.pack("<HH2sH", 0x0009 + 2 * (n >> 16), n & 0xFFFF, b"LO", 0) for n in range(1, 1_000_000) if n & 0xFFFF
    )
    tracemalloc.start()
    try:
        with pytest.raises(HeaderBoundsError, match=f"more than {MAX_ELEMENTS:,} elements"):
            scan(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_endless_items_are_refused() -> None:
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    scanner = HeaderScanner()
    scanner.feed(CT[:DATA_SET_AT] + sequence)
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 10_000
    for _ in range(MAX_NESTED // 10_000):
        scanner.feed(items)
    with pytest.raises(HeaderBoundsError):
        scanner.feed(items)


@pytest.mark.parametrize("depth", [200, 100_000])
def test_deep_sequences_are_refused(depth: int) -> None:
    level = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with pytest.raises(HeaderBoundsError):
        scan(CT[:DATA_SET_AT] + level * depth)
