"""Headers and element values of valid and damaged DICOM files."""

import csv
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pydicom
import pytest

import main
from dicom_files import PYDICOM_DATA
from dicom_header import DAMAGED, NOT_DICOM, TRUNCATED, read_header
from dicom_report import build_report
from dicom_tags import parse_tags
from errors import InputError
from support import PICTURES, Run, ct_image, save


def test_name_date_modality_and_requested_tag_are_printed(run: Run) -> None:
    outcome = run("dicom", PICTURES, "CT_small.dcm", "0x0008", "0x0016")
    assert outcome.status == 0
    assert outcome.output.splitlines()[1:] == [
        "  Patient's name           CompressedSamples^CT1",
        "  Study date               20040119",
        "  Modality                 CT",
        "  (0008,0016) SOPClassUID  1.2.840.10008.5.1.4.1.1.2 (CT Image Storage)",
    ]


def test_read_dicom_returns_the_report() -> None:
    report = main.read_dicom(PICTURES, "CT_small.dcm", 0x0008, 0x0016, "PatientID")
    assert report is not None
    assert (report.patient_name.text, report.study_date.text) == ("CompressedSamples^CT1", "20040119")
    assert [value.text for value in report.elements] == ["1.2.840.10008.5.1.4.1.1.2 (CT Image Storage)", "1CT1"]


def show(path: Path, *words: str) -> list[str]:
    """Return the values of data elements as text."""
    return [str(value) for value in build_report(path, parse_tags(words)).elements]


def test_absent_and_empty_elements_are_distinguished(tmp_path: Path) -> None:
    path = save(ct_image(PatientBirthDate=""), tmp_path)
    assert show(path, "PatientBirthDate", "PatientWeight") == ["<empty>", "<absent>"]


def test_undecodable_value_is_reported_as_invalid(tmp_path: Path) -> None:
    path = save(ct_image(), tmp_path)
    rows = b"\x28\x00\x10\x00US\x02\x00\x02\x00"
    assert rows in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(rows, b"\x28\x00\x10\x00US\x03\x00\x02\x00\x00"))
    assert show(path, "Rows") == ["<invalid>"]


def test_bulk_data_is_shown_as_its_size(tmp_path: Path) -> None:
    path = save(ct_image(), tmp_path)
    assert show(path, "PixelData") == ["4 bytes"]
    assert show(PICTURES / "JPEG2000.dcm", "PixelData") == ["compressed frames"]
    assert show(PICTURES / "image_dfl.dcm", "PixelData") == ["262,144 bytes"]


def test_private_elements_and_sequence_paths_are_read() -> None:
    assert show(PICTURES / "CT_small.dcm", "0009,1001") == ["GE_GENESIS_FF"]
    assert show(PICTURES / "rtplan.dcm", "BeamSequence[0].BeamName", "BeamSequence") == ["Field 1", "1 item"]
    assert show(PICTURES / "rtplan.dcm", "BeamSequence[7].BeamName", "Modality") == ["<absent>", "RTPLAN"]


def test_elements_after_the_pixel_data_are_read(tmp_path: Path) -> None:
    path = save(ct_image(DataSetTrailingPadding=b"\0" * 10), tmp_path)
    assert show(path, "DataSetTrailingPadding") == ["10 bytes"]


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
def test_patient_names_are_decoded_from_their_character_set(name: str, patient: str, run: Run) -> None:
    assert patient in run("dicom", PYDICOM_DATA / "charset_files" / name).output


def test_unknown_character_set_is_reported(tmp_path: Path, run: Run) -> None:
    path = save(ct_image(), tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x00080005, "CS", "ISO_IR 100")
    path = save(dataset, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    assert "! unknown character set: names may look wrong" in run("dicom", path).output


def test_escape_sequences_in_values_are_not_printed(tmp_path: Path, run: Run) -> None:
    path = save(ct_image(), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"Doe^John", b"Doe\x1b[2J"))
    assert "\x1b" not in run("dicom", path).output


@pytest.mark.parametrize(
    "name", ["ExplVR_LitEndNoMeta.dcm", "ExplVR_BigEndNoMeta.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm"]
)
def test_deflated_big_endian_and_preamble_free_files_are_read(name: str, run: Run) -> None:
    outcome = run("dicom", PICTURES, name)
    assert (outcome.status, outcome.log) == (0, [])
    assert "!" not in outcome.output


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-reordered"])
def test_dicomdir_is_listed_as_patients_studies_and_series(name: str, run: Run) -> None:
    lines = run("dicom", PICTURES / "dicomdirtests", name).output.splitlines()
    assert lines[4:8] == [
        "  Patient  Doe^Archibald  77654033",
        "    Study  20010101  XR C Spine Comp Min 4 Views  2",
        "      Series  CR  1  (1 object)",
        "      Series  CR  2  (1 object)",
    ]
    assert sum(line.startswith("  Patient") and "'s name" not in line for line in lines) == 2


def test_dicomdir_with_a_damaged_offset_is_read_without_its_directory(tmp_path: Path, run: Run) -> None:
    content = (PICTURES / "dicomdirtests" / "DICOMDIR").read_bytes()
    first_offset = b"\x04\x00\x00\x12UL\x04\x00"
    assert first_offset in content
    path = tmp_path / "DICOMDIR"
    path.write_bytes(content.replace(first_offset, b"\x04\x00\x00\x12UL\x08\x00\x01\x00\x00\x00"))
    outcome = run("dicom", path)
    assert (outcome.status, len(outcome.output.splitlines())) == (0, 4)


@pytest.mark.parametrize(
    "content",
    [b"", b"just a text\n" * 50, b"\x89PNG\r\n\x1a\n" + b"\0" * 300, b"\0" * 500, b"\x08\0\x05\0" * 100],
    ids=["empty", "text", "png", "zeros", "tags"],
)
def test_files_that_are_not_dicom_are_rejected(content: bytes, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "file.dcm"
    path.write_bytes(content)
    outcome = run("dicom", path)
    assert (outcome.status, outcome.output, outcome.log) == (
        1,
        "",
        [f"{path}: {NOT_DICOM}; check that it is the right file"],
    )


def test_preamble_without_elements_is_reported_as_damaged(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "file.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM")
    assert run("dicom", path).log == [f"{path}: {DAMAGED}; fetch the file again"]


def test_truncated_file_is_reported_and_logged(run: Run) -> None:
    outcome = run("dicom", PICTURES, "MR_truncated.dcm")
    assert outcome.status == 1
    assert f"! {TRUNCATED}" in outcome.output
    assert outcome.log == [f"{PICTURES}/MR_truncated.dcm: the file is truncated; fetch it again"]


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "JPEG2000.dcm", "rtplan.dcm", "MR_small_implicit.dcm", "ExplVR_BigEnd.dcm"]
)
def test_truncation_is_detected_anywhere_within_an_element(name: str, tmp_path: Path) -> None:
    content = (PICTURES / name).read_bytes()
    ends = element_ends(PICTURES / name)
    for length in range(140, len(content), max(1, len(content) // 1000)):
        path = tmp_path / "cut.dcm"
        path.write_bytes(content[:length])
        try:
            remarks = read_header(path).remarks
        except InputError:
            continue
        assert remarks or length in ends, f"cut at {length} unnoticed"


def element_ends(path: Path) -> set[int]:
    """Return the offsets at which a top-level element ends, so that the file could end there."""
    dataset = pydicom.dcmread(path)
    elements = [*dataset.file_meta.elements(), *(dataset.get_item(tag) for tag in list(dataset.keys()))]
    starts = {element.value_tell if hasattr(element, "value_tell") else element.file_tell for element in elements}
    return {start - size for start in starts if start for size in (8, 12)}  # a value's header has 8 or 12 bytes


def test_pixels_are_not_read_with_the_header(tmp_path: Path) -> None:
    path = save(ct_image(), tmp_path)
    content = path.read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00")
    size = 500 << 20
    with path.open("r+b") as file:
        file.seek(at + 8)
        file.write(size.to_bytes(4, "little"))
        file.truncate(at + 12 + size)
    tracemalloc.start()
    try:
        assert show(path, "PixelData") == ["524,288,000 bytes"]
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_folder_table_shows_errors_in_their_rows(tmp_path: Path, run: Run) -> None:
    (tmp_path / "deep").mkdir()
    save(ct_image(), tmp_path / "deep")
    shutil.copy(PICTURES / "MR_truncated.dcm", tmp_path / "cut.dcm")
    (tmp_path / "notes.txt").write_text("no DICOM")
    outcome = run("dicom", tmp_path)
    lines = outcome.output.splitlines()
    assert outcome.status == 1
    assert [line.split()[0] for line in lines[1:]] == ["CompressedSamples^MR1", "–", "Doe^John"]
    assert lines[2].endswith(f"notes.txt  ! {NOT_DICOM}")
    assert outcome.log == [f"{tmp_path}: 2 of its files could not be read completely"]


def test_folder_table_points_out_a_dicomdir(run: Run) -> None:
    lines = run("dicom", PICTURES / "dicomdirtests" / "TINY_ALPHA").output.splitlines()
    assert lines[1].endswith("DICOMDIR  ! a DICOMDIR: read it alone to list its patients, studies and series")


def test_folder_json_has_one_line_per_file(tmp_path: Path, run: Run) -> None:
    save(ct_image(), tmp_path, "a.dcm")
    (tmp_path / "b.txt").touch()
    one, other = map(json.loads, run("dicom", tmp_path, "--json").output.splitlines())
    assert one["patient_name"] == {"state": "present", "value": "Doe^John"}
    assert "not a DICOM file" in other["error"]


def test_folder_json_escapes_the_names_of_all_files_alike(tmp_path: Path, run: Run) -> None:
    good, bad = (Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/caf\xe9.dcm", b"/caf\xe9.txt"))
    save(ct_image(), tmp_path).rename(good)
    bad.touch()
    paths = [json.loads(line)["path"] for line in run("dicom", tmp_path, "--json").output.splitlines()]
    assert paths == [f"{tmp_path}/caf\\udce9.dcm", f"{tmp_path}/caf\\udce9.txt"]


@pytest.mark.parametrize("options", [[], ["StudyDate", "--all"], ["--image", "out.png"]])
def test_log_contains_no_patient_data(tmp_path: Path, options: list[str]) -> None:
    path = save(ct_image(PatientID="SECRET-ID", PixelData=b"\0"), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"20260102", b"SECRET^X"))
    process = subprocess.run(
        [sys.executable, main.__file__, "dicom", path, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "SECRET^X" in process.stdout
    assert not re.search("SECRET|Doe", process.stderr)


def test_header_longer_than_64_kib_is_read(tmp_path: Path) -> None:
    dataset = ct_image()
    item = pydicom.Dataset()
    item.TextValue = "x" * 1000
    dataset.ContentSequence = pydicom.Sequence([item] * 200)
    dataset["ContentSequence"].is_undefined_length = True
    path = save(dataset, tmp_path)
    assert show(path, "ContentSequence[199].TextValue", "Rows", "PixelData") == ["x" * 1000, "2", "4 bytes"]


@pytest.mark.parametrize("undefined", [True, False])
def test_elements_over_one_mib_are_read(tmp_path: Path, run: Run, undefined: bool) -> None:
    item = pydicom.Dataset()
    item.TextValue = "long" * 400_000
    dataset = ct_image(EncapsulatedDocument=bytes(3 << 20), ContentSequence=pydicom.Sequence([item]))
    dataset["ContentSequence"].is_undefined_length = undefined
    path = save(dataset, tmp_path)
    assert show(path, "EncapsulatedDocument", "ContentSequence") == ["3,145,728 bytes", "1 item"]
    assert show(path, "ContentSequence[0].TextValue") == ["long" * 400_000]
    assert run("dicom", path, "--all", "--json").status == 0


def test_acr_nema_date_is_normalized(tmp_path: Path) -> None:
    path = save(ct_image(), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"DA\x08\x0020260102", b"DA\x0a\x002026.01.02"))
    assert build_report(path).study_date.text == "20260102"


def test_gzip_and_zip_files_are_unpacked(tmp_path: Path, run: Run) -> None:
    path = save(ct_image(), tmp_path)
    packed = tmp_path / "image.dcm.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(path, "deep/image.dcm")
        archive.writestr("notes.txt", "text")
    assert show(packed, "PatientName", "PixelData") == ["Doe^John", "4 bytes"]
    assert show(tmp_path / "images.zip" / "deep" / "image.dcm", "PatientName") == ["Doe^John"]
    assert run("dicom", tmp_path / "images.zip", "deep/image.dcm", "PatientName").status == 0
    lines = run("dicom", tmp_path / "images.zip").output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["Doe^John", "–"]


def test_absolute_name_in_a_zip_archive_is_not_read_from_the_disk(tmp_path: Path, run: Run) -> None:
    path = save(ct_image(), tmp_path)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr(str(path), "text")
    outcome = run("dicom", tmp_path / "images.zip")
    assert outcome.status == 1
    assert "Doe^John" not in outcome.output
    assert outcome.output.endswith("no such member in the ZIP archive\n")


def test_decompression_bomb_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_header.MAX_UNPACKED_BYTES", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(2 << 20)))
    with pytest.raises(InputError, match="unpacks to more than"):
        read_header(path)


def test_truncated_gzip_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress((PICTURES / "CT_small.dcm").read_bytes())[:5000])
    with pytest.raises(InputError, match="damaged or truncated compressed data"):
        read_header(path)


def test_all_option_prints_a_tree(run: Run) -> None:
    lines = run("dicom", PICTURES, "rtplan.dcm", "--all").output.splitlines()
    at = next(number for number, line in enumerate(lines) if "(300A,00B0)" in line)
    assert lines[at] == "  (300A,00B0) SQ BeamSequence: 1 item"
    assert lines[at + 1 : at + 3] == ["    item 0", "      (0008,0070) LO Manufacturer: Linac co."]


def test_all_option_as_csv_has_element_paths(run: Run) -> None:
    rows = list(csv.DictReader(run("dicom", PICTURES, "rtplan.dcm", "--all", "--csv").output.splitlines()))
    (row,) = [row for row in rows if row["tag"] == "(300A,00B0)[0].(300A,00C2)"]
    assert (row["keyword"], row["vr"], row["value"]) == ("BeamName", "LO", "Field 1")


@pytest.mark.parametrize("words", [["0x0010", "0x0020"], ["PatientID"], ["0010,0020"]])
def test_requested_tags_become_columns_of_the_folder_table(tmp_path: Path, run: Run, words: list[str]) -> None:
    save(ct_image(PatientID="A-1"), tmp_path, "a.dcm")
    (tmp_path / "b.txt").write_text("text")
    outcome = run("dicom", tmp_path, *words, "--csv")
    first, second = csv.DictReader(outcome.output.splitlines())
    assert (first["PatientID"], first["modality"], first["remarks"]) == ("A-1", "CT", "")
    assert (second["PatientID"], second["remarks"]) == ("", NOT_DICOM)
    assert "PatientID" in run("dicom", tmp_path, *words).output.splitlines()[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window", "40", "400"], "need --image"),
        (["--frame", "2"], "need --image"),
        (["--montage"], "need --image"),
        (["--image", "x.png", "--window", "40", "0"], "width must be greater than 0"),
        (["--image", "x.png", "--window", "nan", "400"], "numbers must be finite"),
        (["--image", "x.png", "--window", "wide", "400"], "invalid float value"),
        (["--image", "x.png", "--montage", "--frame", "1"], "leave out --frame"),
        (["--csv", "--json"], "choose --csv or --json"),
    ],
)
def test_invalid_option_combinations_are_usage_errors(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main.main(["dicom", str(PICTURES / "CT_small.dcm"), *options])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("word", ["none.dcm", "PatientIDD", "0x0008"])
def test_missing_file_or_unknown_tag_is_one_logged_line(tmp_path: Path, run: Run, word: str) -> None:
    outcome = run("dicom", tmp_path, word)
    assert (outcome.status, outcome.output, len(outcome.log)) == (1, "", 1)
