"""Headers and values of real files, whole and damaged."""

import json
import re
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import pydicom
import pytest

import main
from dicom_reading import DAMAGED, ENDS_EARLY, NOT_DICOM, read_header
from dicom_report import report_on
from dicom_tags import parse_tags
from errors import InputError
from support import PACKAGE_DATA, PICTURES, Run, ct_image, dicom_files, peer, saved

FILES = dicom_files()
COMPARED = [path for path in FILES if not path.name.startswith("DICOMDIR")]  # dcmdump shows their records' values
NAMES = [str(path.relative_to(PACKAGE_DATA)) for path in FILES]


def test_name_date_modality_and_a_tag_are_printed(run: Run) -> None:
    outcome = run("dicom", PICTURES, "CT_small.dcm", "0x0008", "0x0016")
    assert outcome.status == 0
    assert outcome.output.splitlines()[1:] == [
        "  Patient's name           CompressedSamples^CT1",
        "  Study date               20040119",
        "  Modality                 CT",
        "  (0008,0016) SOPClassUID  1.2.840.10008.5.1.4.1.1.2 (CT Image Storage)",
    ]


def test_the_front_door_returns_what_it_prints() -> None:
    report = main.read_dicom(PICTURES, "CT_small.dcm", 0x0008, 0x0016, "PatientID")
    assert report is not None
    assert (report.patient_name.text, report.study_date.text) == ("CompressedSamples^CT1", "20040119")
    assert [value.text for value in report.elements] == ["1.2.840.10008.5.1.4.1.1.2 (CT Image Storage)", "1CT1"]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_file_of_pydicom_is_read_or_refused_in_one_line(path: Path, run: Run) -> None:
    outcome = run("dicom", path, "PatientID", "PixelData", "--json")
    if outcome.output:
        assert {"patient_name", "study_date", "modality"} < json.loads(outcome.output).keys()
    else:
        assert len(outcome.log) == 1
        assert outcome.log[0].startswith(f"{path}: ")


@pytest.mark.parametrize("path", COMPARED, ids=[path.name for path in COMPARED])
def test_name_date_and_modality_are_what_dcmdump_says(path: Path) -> None:
    tags = ("0010,0010", "0008,0020", "0008,0060")
    command = [peer("dcmdump", "dcmtk"), "-q", "+L", "+U8", *(word for tag in tags for word in ("+P", tag)), str(path)]
    dump = subprocess.run(command, capture_output=True, check=False)
    if dump.returncode:
        return  # dcmdump cannot read it: nothing to compare with
    text = dump.stdout.decode(errors="replace")
    said = {
        match[1]: "" if match[2].startswith("(no value") else match[2][1:-1].rstrip()
        for match in re.finditer(r"^\(([0-9a-f,]{9})\) \S\S (\(no value available\)|\[.*?\]) +#", text, re.MULTILINE)
    }
    try:
        report = report_on(path)
    except InputError:
        return
    found = (report.patient_name, report.study_date, report.modality)
    for tag, value in zip(tags, found, strict=True):
        if f"({tag}) UN" in text:
            continue  # dcmdump does not know how to read it
        assert (value.state.value == "absent") == (tag not in said), tag
        assert value.text == said.get(tag, "").rstrip("="), tag  # empty groups at the end of a name say nothing


def shown(path: Path, *words: str) -> list[str]:
    """The values of data elements as they are shown."""
    return [str(value) for value in report_on(path, parse_tags(words)).elements]


def test_absent_and_empty_are_different_answers(tmp_path: Path) -> None:
    path = saved(ct_image(PatientBirthDate=""), tmp_path)
    assert shown(path, "PatientBirthDate", "PatientWeight") == ["<empty>", "<absent>"]


def test_a_value_that_cannot_be_converted_is_unreadable(tmp_path: Path) -> None:
    path = saved(ct_image(), tmp_path)
    rows = b"\x28\x00\x10\x00US\x02\x00\x02\x00"
    assert rows in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(rows, b"\x28\x00\x10\x00US\x03\x00\x02\x00\x00"))
    assert shown(path, "Rows") == ["<unreadable>"]


def test_bulk_values_show_their_size(tmp_path: Path) -> None:
    path = saved(ct_image(), tmp_path)
    assert shown(path, "PixelData") == ["4 bytes"]
    assert shown(PICTURES / "JPEG2000.dcm", "PixelData") == ["compressed frames"]
    assert shown(PICTURES / "image_dfl.dcm", "PixelData") == ["262,144 bytes"]


def test_private_elements_and_paths_into_sequences_are_read() -> None:
    assert shown(PICTURES / "CT_small.dcm", "0009,1001") == ["GE_GENESIS_FF"]
    assert shown(PICTURES / "rtplan.dcm", "BeamSequence[0].BeamName", "BeamSequence") == ["Field 1", "1 item"]
    assert shown(PICTURES / "rtplan.dcm", "BeamSequence[7].BeamName", "Modality") == ["<absent>", "RTPLAN"]


def test_elements_behind_the_pixels_are_read(tmp_path: Path) -> None:
    path = saved(ct_image(DataSetTrailingPadding=b"\0" * 10), tmp_path)
    assert shown(path, "DataSetTrailingPadding") == ["10 bytes"]


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("chrKoreanMulti.dcm", "김희중"),
        ("chrArab.dcm", "قباني^لنزار"),
        ("chrRuss.dcm", "Люкceмбypг"),
        ("chrX2.dcm", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_in_every_character_set_print_right(name: str, patient: str, run: Run) -> None:
    assert patient in run("dicom", PACKAGE_DATA / "charset_files" / name).output


def test_an_unknown_character_set_is_remarked(tmp_path: Path, run: Run) -> None:
    path = saved(ct_image(), tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x00080005, "CS", "ISO_IR 100")
    path = saved(dataset, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    assert "! its character set is unknown: names may print wrong" in run("dicom", path).output


def test_an_escape_sequence_in_a_value_does_not_reach_the_terminal(tmp_path: Path, run: Run) -> None:
    path = saved(ct_image(), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"Doe^John", b"Doe\x1b[2J"))
    assert "\x1b" not in run("dicom", path).output


@pytest.mark.parametrize(
    "name", ["ExplVR_LitEndNoMeta.dcm", "ExplVR_BigEndNoMeta.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm"]
)
def test_files_without_preamble_deflated_and_big_endian_are_read(name: str, run: Run) -> None:
    outcome = run("dicom", PICTURES, name)
    assert (outcome.status, outcome.log) == (0, [])
    assert "!" not in outcome.output


def test_a_dicomdir_says_what_it_is(run: Run) -> None:
    assert "! a DICOMDIR" in run("dicom", PICTURES / "dicomdirtests", "DICOMDIR").output


@pytest.mark.parametrize(
    "content",
    [b"", b"just a text\n" * 50, b"\x89PNG\r\n\x1a\n" + b"\0" * 300, b"\0" * 500, b"\x08\0\x05\0" * 100],
    ids=["empty", "text", "png", "zeros", "tags"],
)
def test_what_is_not_dicom_is_refused(content: bytes, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "file.dcm"
    path.write_bytes(content)
    outcome = run("dicom", path)
    assert (outcome.status, outcome.output, outcome.log) == (1, "", [f"{path}: {NOT_DICOM}"])


def test_a_preamble_alone_is_damaged(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "file.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM")
    assert run("dicom", path).log == [f"{path}: {DAMAGED}"]


def test_a_file_that_ends_early_is_reported_and_logged(run: Run) -> None:
    outcome = run("dicom", PICTURES, "MR_truncated.dcm")
    assert outcome.status == 1
    assert f"! {ENDS_EARLY}" in outcome.output
    assert outcome.log == [f"{PICTURES}/MR_truncated.dcm: the file ends early; fetch it again"]


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "JPEG2000.dcm", "rtplan.dcm", "MR_small_implicit.dcm", "ExplVR_BigEnd.dcm"]
)
def test_a_file_cut_anywhere_but_between_two_elements_is_noticed(name: str, tmp_path: Path) -> None:
    whole = (PICTURES / name).read_bytes()
    ends = element_ends(PICTURES / name)
    for length in range(140, len(whole), max(1, len(whole) // 1000)):
        path = tmp_path / "cut.dcm"
        path.write_bytes(whole[:length])
        try:
            remarks = read_header(path).remarks
        except InputError:
            continue
        assert remarks or length in ends, f"cut at {length} unnoticed"


def element_ends(path: Path) -> set[int]:
    """The places at the top level of a file where an element ends, and the file could."""
    dataset = pydicom.dcmread(path)
    elements = [*dataset.file_meta.elements(), *(dataset.get_item(tag) for tag in list(dataset.keys()))]
    starts = {element.value_tell if hasattr(element, "value_tell") else element.file_tell for element in elements}
    return {start - size for start in starts if start for size in (8, 12)}  # a value's header has 8 or 12 bytes


def test_the_pixels_of_a_large_file_are_left_on_disk(tmp_path: Path) -> None:
    path = saved(ct_image(), tmp_path)
    content = path.read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00")
    size = 500 << 20
    with path.open("r+b") as file:
        file.seek(at + 8)
        file.write(size.to_bytes(4, "little"))
        file.truncate(at + 12 + size)
    tracemalloc.start()
    try:
        assert shown(path, "PixelData") == ["524,288,000 bytes"]
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_a_folder_is_a_table_with_errors_in_their_place(tmp_path: Path, run: Run) -> None:
    (tmp_path / "deep").mkdir()
    saved(ct_image(), tmp_path / "deep")
    shutil.copy(PICTURES / "MR_truncated.dcm", tmp_path / "cut.dcm")
    (tmp_path / "notes.txt").write_text("no DICOM")
    outcome = run("dicom", tmp_path)
    lines = outcome.output.splitlines()
    assert outcome.status == 1
    assert [line.split()[0] for line in lines[1:]] == ["CompressedSamples^MR1", "–", "Doe^John"]
    assert lines[2].endswith("notes.txt  ! not a DICOM file")
    assert outcome.log == [f"{tmp_path}: 2 of its files could not be read whole, the reason stands at each"]


def test_a_folder_as_json_is_a_line_for_each_file(tmp_path: Path, run: Run) -> None:
    saved(ct_image(), tmp_path, "a.dcm")
    (tmp_path / "b.txt").touch()
    one, other = map(json.loads, run("dicom", tmp_path, "--json").output.splitlines())
    assert one["patient_name"] == {"state": "present", "value": "Doe^John"}
    assert "not a DICOM file" in other["error"]


def test_no_value_of_a_damaged_file_reaches_the_log(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(ct_image(), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"20260102", b"SECRET^X"))
    outcome = run("dicom", path)
    assert "SECRET" not in " ".join(outcome.log) + capsys.readouterr().err
