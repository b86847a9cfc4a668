import io
import shutil
import unittest
from datetime import date, time
from pathlib import Path
from typing import Any

from support import PACKAGE_DATA, PICTURES, SAMPLE, FilesTestCase, ct_image

# isort: split

import pydicom
from pydicom.dataelem import RawDataElement

from attributes import InvalidValueError, State
from dicom_loading import DicomError
from patient_record import PatientRecord
from series import Series
from study_record import StudyRecord

VALUES: dict[str, tuple[Any, Any]] = {
    "modality": ("CT", "CT"),
    "study_date": ("20260102", date(2026, 1, 2)),
    "study_time": ("0930", time(9, 30)),
    "study_instance_uid": ("1.2.3", "1.2.3"),
    "series_number": ("7", 7),
    "number_of_frames": (3, 3),
}


class SettingAndGetting(unittest.TestCase):
    def test_a_study_is_a_patient_record(self) -> None:
        self.assertIsInstance(StudyRecord(), PatientRecord)
        self.assertEqual(StudyRecord(name="Doe^John").get_name(), PatientRecord(name="Doe^John").get_name())

    def test_every_attribute_has_a_setter_and_a_getter(self) -> None:
        for name, (given, expected) in VALUES.items():
            with self.subTest(name):
                record = StudyRecord()
                getattr(record, f"set_{name}")(given)
                self.assertEqual(getattr(record, f"get_{name}")(), expected)

    def test_forbidden_values_are_rejected(self) -> None:
        values: dict[str, Any] = {"modality": "ct", "study_time": "2460", "number_of_frames": 0, "series_number": "1A"}
        for name, value in values.items():
            with self.subTest(name), self.assertRaises(InvalidValueError):
                StudyRecord(**{name: value})


class Loading(FilesTestCase):
    def test_all_details_come_from_the_file(self) -> None:
        path = self.saved(
            ct_image(
                PatientBirthDate="20240615",
                PatientSex="M",
                PatientAge="018M",
                PatientWeight="11.5",
                TypeOfPatientID="TEXT",
                NumberOfFrames=3,
            )
        )
        expected = StudyRecord(
            name="Doe^John", patient_id="P1", patient_id_type="TEXT", birth_date="20240615", sex="M", age="018M",
            weight="11.5", modality="CT", study_date="20260102", study_time="0930", study_instance_uid="1.2.3",
            series_number=1, number_of_frames=3,
        )  # fmt: skip
        expected.series = [Series("1.2.3.1", 1, "CT", 1, 3)]
        self.assertEqual(StudyRecord.from_dicom(path), expected)
        self.assertEqual(StudyRecord.from_dicom(str(path)), expected)

    def test_absent_is_not_empty(self) -> None:
        record = StudyRecord.from_dicom(self.saved(ct_image(PatientSex="")))
        self.assertEqual((record.state_of("sex"), record.state_of("weight")), (State.EMPTY, State.ABSENT))
        self.assertIn("Sex                 <empty>", str(record))

    def test_an_image_without_number_of_frames_has_one(self) -> None:
        self.assertEqual(StudyRecord.from_dicom(self.saved(ct_image())).number_of_frames, 1)

    def test_an_object_without_pixels_has_no_number_of_frames(self) -> None:
        path = self.saved(ct_image(Rows=None, Columns=None))
        self.assertEqual(StudyRecord.from_dicom(path).state_of("number_of_frames"), State.ABSENT)

    def test_invalid_values_that_pydicom_accepts_are_preserved_and_reported_once(self) -> None:
        cases = {
            "study_date": (b"20260102", b"20190229"),
            "study_time": (b"0930", b"2460"),
            "name": (b"Doe^John", b"D^o^^^^J"),
            "modality": (b"CT", b"ct"),
            "study_instance_uid": (b"1.2.3\0", b"1.02.3"),
        }
        for name, (old, new) in cases.items():
            with self.subTest(name), self.assertLogs("section2", "WARNING") as logged:
                path = self.patched(ct_image(PatientID="Q9"), old, new)
                record = StudyRecord.from_dicom(path)
                self.assertEqual(record.state_of(name), State.INVALID)
                self.assertEqual(record.text_of(name), new.decode())
                self.assertIsNone(getattr(record, name))
                self.assertEqual(record.patient_id, "Q9")
                self.assertIn(f"{new.decode()}  <not ", str(record))
            self.assertEqual(len(logged.output), 1)
            self.assertIn(f"{name} is invalid and preserved", logged.output[0])

    def test_an_unknown_vr_in_the_file_meta_information_does_no_harm(self) -> None:
        path = self.patched(ct_image(), b"\2\0\2\0UI", b"\2\0\2\0U\xff")
        self.assertEqual(StudyRecord.from_dicom(path).modality, "CT")

    def test_no_value_of_a_patient_reaches_the_log(self) -> None:
        path = self.patched(ct_image(), b"Doe^John", b"S^^^^^EC")
        with self.assertLogs(level="DEBUG") as logged:
            StudyRecord.from_dicom(path)
        self.assertNotIn("S^^^^^EC", "\n".join(logged.output))

    def test_a_load_that_fails_leaves_the_record_as_it_was(self) -> None:
        record = StudyRecord.from_dicom(self.saved(ct_image()))
        before = record.to_json()
        for path in (self.folder / "none.dcm", PACKAGE_DATA / "urls.json"):
            with self.subTest(path.name), self.assertRaises(DicomError):
                record.load_from_dicom(path)
            self.assertEqual(record.to_json(), before)

    def test_a_load_replaces_values_and_preserves_the_diagnosis(self) -> None:
        record = StudyRecord(weight=70, diagnosis="Asthma")
        record.load_from_dicom(self.saved(ct_image()))
        self.assertEqual((record.weight, record.modality, record.diagnosis), (None, "CT", "Asthma"))

    def test_a_path_without_a_study_gives_one_line(self) -> None:
        (self.folder / "empty").mkdir()
        (self.folder / "text.dcm").write_text("no DICOM " * 100)
        (self.folder / "zero.dcm").write_bytes(b"")
        for name, words in {
            "none": "no such file",
            "text.dcm": "not a DICOM file",
            "zero.dcm": "not a DICOM file",
            "empty": "no DICOM file in this folder",
        }.items():
            with self.subTest(name), self.assertRaises(DicomError) as rejected:
                StudyRecord.from_dicom(self.folder / name)
            self.assertIn(words, str(rejected.exception))
            self.assertNotIn("\n", str(rejected.exception))

    def test_real_files_have_known_values(self) -> None:
        cases: dict[str, dict[str, Any]] = {
            "CT_small.dcm": {"modality": "CT", "study_date": date(2004, 1, 19), "age": "000Y", "number_of_frames": 1},
            "MR_small.dcm": {"modality": "MR", "patient_id": "4MR1", "weight": "80.0000"},
            "examples_ybr_color.dcm": {"modality": "US", "number_of_frames": 30},
            "rtplan.dcm": {"modality": "RTPLAN", "study_time": "153557", "sex": "O"},
        }
        for name, values in cases.items():
            record = StudyRecord.from_dicom(PICTURES / name)
            for attribute, expected in values.items():
                with self.subTest(file=name, attribute=attribute):
                    found = record.text_of(attribute) if isinstance(expected, str) else getattr(record, attribute)
                    self.assertEqual(found, expected)


def element_ends(path: Path) -> list[int]:
    """Return the offsets at which an element ends and another follows."""
    dataset = pydicom.dcmread(path, force=True)
    long_vrs = {"OB", "OW", "OF", "SQ", "UN", "UT", "UC"}  # of explicit VR
    ends = []
    for element in [*dataset.file_meta.elements(), *(dataset.get_item(tag) for tag in list(dataset.keys()))]:
        start = element.value_tell if isinstance(element, RawDataElement) else element.file_tell
        ends.append(int(start or 0) - (12 if element.VR in long_vrs else 8))
    return [end for end in ends[1:] if end > 0]


class Sources(FilesTestCase):
    def test_a_file_object_and_a_dataset_load_like_the_path(self) -> None:
        path = PICTURES / "CT_small.dcm"
        expected = StudyRecord.from_dicom(path)
        with path.open("rb") as file:
            self.assertEqual(StudyRecord.from_dicom(file), expected)
        self.assertEqual(StudyRecord.from_dicom(pydicom.dcmread(path)), expected)

    def test_a_truncated_file_is_reported(self) -> None:
        content = (PICTURES / "CT_small.dcm").read_bytes()
        for size in (20_000, 800, len(content) - 1):
            with self.subTest(size), self.assertLogs("section2", "WARNING") as logged:
                record = StudyRecord.from_dicom(io.BytesIO(content[:size]))
            self.assertTrue(record.truncated)
            self.assertIn(
                "the file is truncated or lacks required elements; attributes may be missing", logged.output[0]
            )

    def test_a_file_that_ends_in_compressed_pixels_is_reported(self) -> None:
        content = (PICTURES / "JPEG2000.dcm").read_bytes()
        self.assertFalse(StudyRecord.from_dicom(io.BytesIO(content)).truncated)
        with self.assertLogs("section2", "WARNING"):
            self.assertTrue(StudyRecord.from_dicom(io.BytesIO(content[:3000])).truncated)

    def test_a_file_that_ends_in_large_pixels_is_reported(self) -> None:
        content = (PICTURES / "SC_rgb_jpeg_dcmd.dcm").read_bytes()
        with self.assertLogs("section2", "WARNING"):
            self.assertTrue(StudyRecord.from_dicom(io.BytesIO(content[:98_753])).truncated)

    def test_a_cut_between_elements_is_reported_where_more_elements_are_required(self) -> None:
        for name in ("CT_small.dcm", "JPEG2000.dcm", "rtdose.dcm", "rtstruct.dcm", "ExplVR_BigEnd.dcm"):
            content, silent = (PICTURES / name).read_bytes(), []
            for length in element_ends(PICTURES / name):
                try:
                    record = StudyRecord.from_dicom(io.BytesIO(content[:length]))
                except DicomError:
                    continue
                if not record.truncated:
                    silent.append(length)
            with self.subTest(name):
                # Only a cut after the pixels of the CT, before its private padding, cannot be known.
                self.assertEqual(len(silent), int(name == "CT_small.dcm"))

    def test_a_dicomdir_is_rejected(self) -> None:
        with self.assertRaisesRegex(DicomError, "a DICOMDIR, which lists files"):
            StudyRecord.from_dicom(PICTURES / "dicomdirtests" / "DICOMDIR")

    def test_dates_and_times_of_acr_nema_are_read(self) -> None:
        dataset = ct_image(StudyDate=None, StudyTime=None)
        for tag, vr, text in ((0x00080020, "DA", "1993.04.30"), (0x00080030, "TM", "09:30:00")):
            dataset[tag] = pydicom.DataElement(tag, vr, text, validation_mode=pydicom.config.IGNORE)
        record = StudyRecord.from_dicom(dataset)
        self.assertEqual((record.study_date, record.study_time), (date(1993, 4, 30), time(9, 30)))


class Folders(FilesTestCase):
    def test_a_folder_of_one_study_is_one_record_with_its_series(self) -> None:
        record = StudyRecord.from_dicom(SAMPLE)
        self.assertEqual(
            [(one.number, one.modality, one.instances, one.frames) for one in record.series],
            [(1, "CT", 2, 2), (2, "OT", 1, 3)],
        )
        self.assertEqual(record.number_of_frames, 5)

    def test_the_same_instance_twice_counts_once(self) -> None:
        path = self.saved(ct_image())
        shutil.copy(path, self.folder / "copy.dcm")
        self.assertEqual(StudyRecord.from_dicom(self.folder).series, [Series("1.2.3.1", 1, "CT", 1, 1)])

    def test_a_total_of_frames_beyond_its_rule_is_invalid(self) -> None:
        for name in ("a.dcm", "b.dcm"):
            self.saved(ct_image(NumberOfFrames=2**31 - 1), name)
        record = StudyRecord.from_dicom(self.folder)
        self.assertEqual(record.state_of("number_of_frames"), State.INVALID)
        self.assertEqual(record.text_of("number_of_frames"), str(2**32 - 2))

    def test_several_studies_are_rejected_and_listed(self) -> None:
        self.saved(ct_image(), "a.dcm")
        self.saved(ct_image(StudyInstanceUID="1.2.4"), "b.dcm")
        with self.assertRaisesRegex(DicomError, "has 2 studies \\(1.2.3, 1.2.4\\)"):
            StudyRecord.from_dicom(self.folder)

    def test_a_folder_that_does_not_exist_is_reported_as_such(self) -> None:
        with self.assertRaisesRegex(DicomError, "none: no such folder"):
            StudyRecord.list_from_folder(self.folder / "none")

    def test_other_files_are_logged_and_skipped(self) -> None:
        self.saved(ct_image())
        (self.folder / "notes.txt").write_text("x" * 200)
        with self.assertLogs("section2", "WARNING") as logged:
            record = StudyRecord.from_dicom(self.folder)
        self.assertEqual(record.series[0].instances, 1)
        self.assertIn("notes.txt: not a DICOM file", logged.output[0])

    def test_instances_that_differ_are_reported(self) -> None:
        self.saved(ct_image(PatientWeight="70"), "a.dcm")
        self.saved(ct_image(PatientWeight="72"), "b.dcm")
        with self.assertLogs("section2", "WARNING") as logged:
            record = StudyRecord.from_dicom(self.folder)
        self.assertIn("the instances differ in weight; the record has that of the first", logged.output[0])
        self.assertEqual(record.weight, 70)


class Inconsistencies(FilesTestCase):
    def test_inconsistencies_are_found(self) -> None:
        today = date(2026, 6, 1)
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({"birth_date": "20260103", "study_date": "20260102"}, ["the study date is before the birth date"]),
            (
                {"birth_date": "19800101", "study_date": "20260102", "age": "030Y"},
                ["the age does not fit the birth date and the study date"],
            ),
            ({"birth_date": "20240615", "study_date": "20260102", "age": "018M"}, []),
            ({"birth_date": "20260101", "study_date": "20260102", "age": "001D"}, []),
            ({"birth_date": "19800102", "study_date": "20260102", "age": "046Y"}, []),
            ({"birth_date": "19800103", "study_date": "20260102", "age": "045Y"}, []),
            ({"study_date": "20260602"}, ["the study date is in the future"]),
            ({"birth_date": "20260602"}, ["the birth date is in the future"]),
            ({"age": "030Y"}, []),
        ]
        for values, expected in cases:
            with self.subTest(values):
                self.assertEqual(StudyRecord(**values).inconsistencies(today), expected)

    def test_an_inconsistency_is_preserved_shown_and_logged_without_values(self) -> None:
        path = self.saved(ct_image(PatientBirthDate="20260103"))
        with self.assertLogs("section2", "WARNING") as logged:
            record = StudyRecord.from_dicom(path)
        self.assertEqual((record.birth_date, record.study_date), (date(2026, 1, 3), date(2026, 1, 2)))
        self.assertIn("! inconsistency", str(record))
        self.assertEqual(logged.output, ["WARNING:section2:study 1.2.3: the study date is before the birth date"])


class Showing(unittest.TestCase):
    def test_print_shows_study_and_patient(self) -> None:
        record = StudyRecord(name="Doe^John", **{name: given for name, (given, _) in VALUES.items()})
        shown = str(record)
        for words in ("Doe^John", "CT", "2026-01-02", "09:30", "1.2.3", "7", "3"):
            self.assertIn(words, shown)
        columns = {
            line.index(line[2:].lstrip().split("  ")[-1].strip())
            for line in shown.splitlines()
            if line.startswith("  ")
        }
        self.assertEqual(len(columns), 1, "values stand in one column")

    def test_repr_is_short_and_holds_no_name(self) -> None:
        self.assertEqual(
            repr(StudyRecord(name="Doe^John", study_instance_uid="1.2.3", modality="CT")), "<StudyRecord 1.2.3 CT>"
        )
        self.assertEqual(repr(StudyRecord()), "<StudyRecord without UID>")

    def test_equality_covers_series(self) -> None:
        one, other = StudyRecord(), StudyRecord()
        self.assertEqual(one, other)
        other.series = [Series("1", 1, "CT", 1, 1)]
        self.assertNotEqual(one, other)
        self.assertNotEqual(StudyRecord(), PatientRecord())


if __name__ == "__main__":
    unittest.main()
