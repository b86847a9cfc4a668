"""The scanner finds what pydicom finds, in any encoding and in parts of any size, or refuses the file."""

import importlib.resources
import io
import struct
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ingest.header import Header, RefusedError, build_header, decode_requests, read_header
from ingest.header_scanner import MAX_NESTED, WANTED, EncodedSequence, HeaderScanner

FOLDERS = [Path(pydicom.__file__).parent / "data", Path(str(importlib.resources.files("data_store")))]  # pydicom-data
FILES = sorted(path for folder in FOLDERS for path in folder.rglob("*") if path.is_file() and path.suffix != ".py")
BY_NAME = {path.name: path.read_bytes() for path in FILES}
CT = BY_NAME["CT_small.dcm"]
DATA_SET_AT = CT.index(b"\x08\x00\x05\x00")
ENCODINGS = ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "MR_small_RLE.dcm"]


def scan(content: bytes, part: int = 1 << 16) -> Header | str:
    """The header, or the reason for refusal."""
    scanner = HeaderScanner()
    for at in range(0, len(content), part):
        scanner.feed(memoryview(content)[at : at + part])
    try:
        return read_header(scanner)
    except RefusedError as error:
        return str(error)


def read_by_pydicom(content: bytes) -> Header | str:
    """The same by pydicom, which does not notice what is missing at the end."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(content))
            attributes = {keyword: dataset.get(keyword) for keyword, _ in WANTED.values() if keyword in dataset}
            attributes["TransferSyntaxUID"] = dataset.file_meta.get("TransferSyntaxUID")
        return build_header(attributes)
    except RefusedError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # pydicom raises whatever broken bytes lead to
        return type(error).__name__


NO_PREFIX = "not a DICOM file (no DICM prefix at byte 128)"
REFUSED = {  # with the reason; pydicom reads what there is of the truncated files
    "MR_truncated.dcm": "is truncated: 62 bytes are missing at its end",
    "rtplan_truncated.dcm": "is truncated: 265 bytes are missing at its end",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "is truncated inside a sequence",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_of_pydicom_are_read_as_pydicom_reads_them(path: Path) -> None:
    content = path.read_bytes()
    has_prefix = content[128:132] == b"DICM"
    assert scan(content) == REFUSED.get(path.name, read_by_pydicom(content) if has_prefix else NO_PREFIX)


@pytest.mark.parametrize("part", [1, 7, 131, 4096])
@pytest.mark.parametrize("name", ENCODINGS)
def test_parts_of_any_size_give_the_same_header(name: str, part: int) -> None:
    assert scan(BY_NAME[name], part) == read_by_pydicom(BY_NAME[name])


@pytest.mark.parametrize("name", ENCODINGS)
def test_truncated_files_are_refused(name: str) -> None:
    content = BY_NAME[name]
    ends = range(len(content) - 100, len(content) - 8)  # 8 bytes of padding follow the deflated one
    accepted = [end for end in ends if isinstance(scan(content[:end]), Header)]
    assert accepted == []


def test_padding_with_zeros_is_accepted() -> None:
    assert scan(CT + b"\0") == scan(CT)


@settings(max_examples=1000, deadline=None)
@given(
    name=st.sampled_from(
        ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "rtplan.dcm", "test-SR.dcm", "chrH31.dcm"]
    ),
    position=st.integers(0, 3000),
    replacement=st.binary(min_size=1, max_size=8) | st.sampled_from([b"\\", b"~", b"=", b"\x1b", b"\xff" * 4, b"SQ"]),
)
def test_altered_files_that_are_accepted_are_read_as_pydicom_reads_them(
    name: str, position: int, replacement: bytes
) -> None:
    content = BY_NAME[name]
    start = 144 + int.from_bytes(content[140:144], "little") + position
    found = scan(altered := content[:start] + replacement + content[start + len(replacement) :])
    assume(isinstance(found, Header))
    assert found == read_by_pydicom(altered)


TEXT = st.text(st.characters(codec="latin-1"), max_size=70)


@settings(max_examples=500, deadline=None)
@given(
    name=TEXT,
    identifier=TEXT,
    date=TEXT,
    charset=st.sampled_from(["", "ISO_IR 100", "ISO_IR 13", "utf_16", "ISO_IR 192", "ISO 2022 IR 6\\ISO 2022 IR 87"]),
)
@example(name="Doe^Jane ", identifier=" 12 ", date="20240101", charset="")
def test_texts_are_read_as_pydicom_reads_them(name: str, identifier: str, date: str, charset: str) -> None:
    elements = [encode(0x0008, 0x0005, b"CS", charset), encode(0x0008, 0x0016, b"UI", "1.2")]
    elements += [encode(0x0008, 0x0018, b"UI", "1.2"), encode(0x0008, 0x0020, b"DA", date)]
    elements += [encode(0x0010, 0x0010, b"PN", name), encode(0x0010, 0x0020, b"LO", identifier)]
    elements += [encode(0x0020, 0x000D, b"UI", "1.2"), encode(0x0020, 0x000E, b"UI", "1.2")]
    content = CT[:DATA_SET_AT] + b"".join(elements)
    assert scan(content) == read_by_pydicom(content)


def encode(group: int, element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("latin-1")
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def test_endless_items_are_refused() -> None:
    scanner = HeaderScanner()
    scanner.feed(CT[:DATA_SET_AT] + struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF))
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 10_000
    for _ in range(MAX_NESTED // 10_000 + 1):
        scanner.feed(items)
    with pytest.raises(RefusedError, match=f"more than {MAX_NESTED:,} elements in sequences"):
        read_header(scanner)


@pytest.mark.parametrize("part", [1, 7, 1 << 16])
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("name", ENCODINGS)
def test_request_attributes_are_decoded_in_any_encoding(name: str, undefined: bool, part: int) -> None:
    dataset = pydicom.dcmread(io.BytesIO(BY_NAME[name]))
    items = [pydicom.Dataset() for _ in range(2)]
    for number, item in enumerate(items):
        item.ScheduledProcedureStepID, item.RequestedProcedureDescription = f"S{number}", "x" * 64
        item.is_undefined_length_sequence_item = undefined
    items[1].RequestedProcedureID = "R1"
    dataset.RequestAttributesSequence = items
    dataset["RequestAttributesSequence"].is_undefined_length = undefined
    target = io.BytesIO()
    dataset.save_as(target)
    header = scan(target.getvalue(), part)
    assert isinstance(header, Header)
    assert header.requests() == [
        {"ScheduledProcedureStepID": "S0"},
        {"ScheduledProcedureStepID": "S1", "RequestedProcedureID": "R1"},
    ]


def test_malformed_request_attributes_are_left_out() -> None:
    for length, content in ((7, b"\xff" * 7), (1 << 20, b"\xfe\xff\x00\xe0\xff")):
        assert decode_requests(EncodedSequence(length, False, True, bytearray(content)), {}) == []
