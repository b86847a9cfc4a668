import json
import logging
import unittest
import warnings
from typing import Any

from support import PACKAGE_DATA, SAMPLE, FilesTestCase, ct_image, needs

# isort: split

from pydicom.dataset import Dataset

from dicom_json_export import to_dicom_json
from dicom_loading import DicomError
from fhir_export import to_fhir_imaging_study, to_fhir_patient
from study_record import StudyRecord

fhir_patient: Any = needs("fhirclient.models.patient", "fhirclient")
fhir_study: Any = needs("fhirclient.models.imagingstudy", "fhirclient")


def real_records() -> list[StudyRecord]:
    """Return a record of every file in pydicom's package that loads."""
    records = []
    for path in sorted(path for path in PACKAGE_DATA.rglob("*") if path.is_file()):
        try:
            records.append(StudyRecord.from_dicom(path))
        except DicomError:
            continue
    return records


class RealRecords(unittest.TestCase):
    records: list[StudyRecord]

    @classmethod
    def setUpClass(cls) -> None:
        logging.disable()
        cls.addClassCleanup(logging.disable, logging.NOTSET)
        cls.records = [*real_records(), StudyRecord.from_dicom(SAMPLE)]

    def test_pydicom_reads_the_dicom_json(self) -> None:
        for record in self.records:
            model = to_dicom_json(record)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = Dataset.from_json(json.dumps(model))
            for tag, element in model.items():
                with self.subTest(record=repr(record), tag=tag):
                    self.assertEqual(dataset[tag].VR, element["vr"])
                    self.assertEqual(dataset[tag].is_empty, "Value" not in element)
            if record.name:
                self.assertEqual(str(dataset.PatientName), str(record.name))

    def test_fhir_resources_validate(self) -> None:
        for record in self.records:
            with self.subTest(record=repr(record)):
                patient, study = to_fhir_patient(record), to_fhir_imaging_study(record)
                self.assertEqual(fhir_patient.Patient(patient, strict=True).as_json(), patient)
                self.assertEqual(fhir_study.ImagingStudy(study, strict=True).as_json(), study)


class Contents(FilesTestCase):
    def test_a_patient_in_fhir(self) -> None:
        record = StudyRecord(
            name="Doe^John^Q^Dr^Jr", patient_id="P1", patient_id_type="RFID", sex="O", birth_date="19810302"
        )
        patient = to_fhir_patient(record)
        (name,) = patient.pop("name")
        self.assertEqual(
            (name["family"], name["given"], name["prefix"], name["suffix"]), ("Doe", ["John", "Q"], ["Dr"], ["Jr"])
        )
        self.assertEqual(
            patient,
            {
                "resourceType": "Patient",
                "identifier": [{"type": {"text": "RFID"}, "value": "P1"}],
                "gender": "other",
                "birthDate": "1981-03-02",
            },
        )

    def test_a_study_in_fhir_counts_its_series_and_instances(self) -> None:
        study = to_fhir_imaging_study(StudyRecord.from_dicom(SAMPLE))
        self.assertEqual((study["numberOfSeries"], study["numberOfInstances"], study["started"]), (2, 3, "2026-01-02"))
        self.assertEqual([one["modality"]["code"] for one in study["series"]], ["CT", "OT"])

    def test_decimals_keep_their_digits_in_dicom_json(self) -> None:
        self.assertEqual(to_dicom_json(StudyRecord(weight="70.50"))["00101030"], {"vr": "DS", "Value": ["70.50"]})

    def test_invalid_values_are_left_out_and_logged(self) -> None:
        with self.assertLogs("section2", "WARNING"):
            record = StudyRecord.from_dicom(self.patched(ct_image(), b"20260102", b"20190229"))
        for export in (to_dicom_json, to_fhir_imaging_study):
            with self.subTest(export.__name__), self.assertLogs("section2", "WARNING") as logged:
                self.assertNotIn("2019", json.dumps(export(record)))
            self.assertIn("study_date is left out of the export", logged.output[0])


if __name__ == "__main__":
    unittest.main()
