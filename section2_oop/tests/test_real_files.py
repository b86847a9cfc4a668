import json
import logging
import unittest
from pathlib import Path
from typing import ClassVar

from support import corpus_files

# isort: split

from attributes import State
from dicom_loading import DicomError
from study_record import StudyRecord

EXPECTED: dict[str, dict[str, str | None]] = json.loads(
    Path(__file__).with_name("expected_values.json").read_text(encoding="utf-8")
)

DICOMDIRS = {
    "pydicom/test_files/dicomdirtests/DICOMDIR",
    "pydicom/test_files/dicomdirtests/DICOMDIR-bigEnd",
    "pydicom/test_files/dicomdirtests/DICOMDIR-empty.dcm",
    "pydicom/test_files/dicomdirtests/DICOMDIR-implicit",
    "pydicom/test_files/dicomdirtests/DICOMDIR-nooffset",
    "pydicom/test_files/dicomdirtests/DICOMDIR-nopatient",
    "pydicom/test_files/dicomdirtests/DICOMDIR-reordered",
    "pydicom/test_files/dicomdirtests/TINY_ALPHA/DICOMDIR",
}
TRUNCATED = {
    "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm",
    "pydicom/test_files/MR_truncated.dcm",
    "pydicom/test_files/rtplan_truncated.dcm",
}
NOT_READ_BY_DCMTK = {"pydicom/test_files/SC_rgb_jpeg.dcm"}  # switches to implicit VR inside of the file
INVALID = {
    ("pydicom/test_files/badVR.dcm", "number_of_frames"),  # 1A
    ("pydicom-data/bad_sequence.dcm", "age"),  # 22Y
    ("pydicom-data/bad_sequence.dcm", "study_instance_uid"),  # a hash
}


class RealFiles(unittest.TestCase):
    maxDiff = None
    records: ClassVar[dict[str, StudyRecord]] = {}
    rejected: ClassVar[set[str]] = set()

    @classmethod
    def setUpClass(cls) -> None:
        logging.disable()
        cls.addClassCleanup(logging.disable, logging.NOTSET)
        for name, path in corpus_files():
            try:
                cls.records[name] = StudyRecord.from_dicom(path)
            except DicomError:
                cls.rejected.add(name)

    def test_values_equal_those_that_dcmtk_reads(self) -> None:
        for file, expected in EXPECTED.items():
            if file in DICOMDIRS:
                continue
            record = self.records[file]
            for name in StudyRecord.attributes:
                if name in expected and expected[name] is None:
                    continue  # test_character_sets.py checks these
                with self.subTest(file=file, attribute=name):
                    text = expected.get(name)
                    if name == "number_of_frames" and not text:
                        self.assertIn(record.text_of(name), ("", "1"))
                    elif text is None:
                        self.assertEqual(record.state_of(name), State.ABSENT)
                    else:
                        found = record.text_of(name).strip(" \0")
                        normalized = StudyRecord.attributes[name].representation.normalize(text)
                        self.assertEqual(found.strip("^=") and found, normalized.strip("^=") and normalized)

    def test_files_without_a_study_are_rejected(self) -> None:
        self.assertEqual({file for file in self.rejected if file in EXPECTED}, DICOMDIRS)

    def test_the_table_has_every_file_that_loads(self) -> None:
        self.assertEqual(set(self.records) - NOT_READ_BY_DCMTK, set(EXPECTED) - DICOMDIRS)

    def test_truncated_files_are_reported(self) -> None:
        self.assertEqual({file for file, record in self.records.items() if record.truncated}, TRUNCATED)

    def test_only_these_values_are_invalid(self) -> None:
        invalid = {(f, n) for f, record in self.records.items() for n in record.invalid_attributes()}
        self.assertEqual(invalid, INVALID)


if __name__ == "__main__":
    unittest.main()
