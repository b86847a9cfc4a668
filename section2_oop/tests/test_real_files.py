import json
import logging
import unittest
from pathlib import Path

from support import corpus_files

# isort: split

from attributes import State
from dicom_loading import DicomError
from study_record import StudyRecord

EXPECTED: dict[str, dict[str, str | None]] = json.loads(
    Path(__file__).with_name("expected_values.json").read_text(encoding="utf-8")
)


class RealFiles(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls) -> None:
        logging.disable()
        cls.addClassCleanup(logging.disable, logging.NOTSET)
        cls.records: dict[str, StudyRecord] = {}
        cls.rejected: set[str] = set()
        for name, path in corpus_files():
            try:
                cls.records[name] = StudyRecord.from_dicom(path)
            except DicomError:
                cls.rejected.add(name)

    def test_values_equal_those_that_dcmtk_reads(self) -> None:
        for file, expected in EXPECTED.items():
            if file not in self.records:
                continue  # the next test checks these
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
        self.assertEqual({file for file in self.rejected if file in EXPECTED}, REJECTED)

    def test_truncated_files_are_reported(self) -> None:
        self.assertEqual({file for file, record in self.records.items() if record.truncated}, TRUNCATED)

    def test_only_these_values_are_invalid(self) -> None:
        invalid = {(f, n) for f, record in self.records.items() for n in record.invalid_attributes()}
        self.assertEqual(invalid, INVALID)


REJECTED: set[str] = set()
TRUNCATED: set[str] = set()
INVALID: set[tuple[str, str]] = set()

if __name__ == "__main__":
    unittest.main()
