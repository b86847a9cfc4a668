import unittest
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import support  # noqa: F401 (makes the section importable)

# isort: split

from attributes import InvalidValueError, State
from patient_record import PatientRecord
from value_representations import PERSON_NAME, Age

VALUES: dict[str, tuple[Any, Any]] = {  # what is set, what is got
    "name": ("Doe^John", PERSON_NAME.parse("Doe^John")),
    "age": ("018M", Age(18, "M")),
    "birth_date": ("19810302", date(1981, 3, 2)),
    "sex": ("F", "F"),
    "weight": (70.5, Decimal("70.5")),
    "patient_id": ("P-1", "P-1"),
    "patient_id_type": ("RFID", "RFID"),
}
FORBIDDEN: dict[str, Any] = {
    "name": "a^b^c^d^e^f",
    "age": "42",
    "birth_date": "20190229",
    "sex": "Male",
    "weight": "-1",
    "patient_id": "a\\b",
    "patient_id_type": "CHIP",
}


class SettingAndGetting(unittest.TestCase):
    def test_every_attribute_has_a_setter_and_a_getter(self) -> None:
        for name, (given, expected) in VALUES.items():
            with self.subTest(name):
                record = PatientRecord()
                self.assertIsNone(getattr(record, f"get_{name}")())
                getattr(record, f"set_{name}")(given)
                self.assertEqual(getattr(record, f"get_{name}")(), expected)

    def test_constructor_property_and_setter_agree(self) -> None:
        for name, (given, _) in VALUES.items():
            with self.subTest(name):
                by_property, by_setter = PatientRecord(), PatientRecord()
                setattr(by_property, name, given)
                getattr(by_setter, f"set_{name}")(given)
                self.assertEqual(PatientRecord(**{name: given}), by_property)
                self.assertEqual(by_property, by_setter)

    def test_a_forbidden_value_is_rejected_and_changes_nothing(self) -> None:
        for name, value in FORBIDDEN.items():
            with self.subTest(name):
                record = PatientRecord(**{name: VALUES[name][0]})
                with self.assertRaises(InvalidValueError) as rejected:
                    getattr(record, f"set_{name}")(value)
                rule = PatientRecord.attributes[name].representation.rule
                self.assertEqual(str(rejected.exception), f"{name}: {value!r} is not {rule}")
                self.assertEqual(record, PatientRecord(**{name: VALUES[name][0]}))
                with self.assertRaises(InvalidValueError):
                    PatientRecord(**{name: value})

    def test_a_float_of_17_digits_is_rounded_to_16_characters(self) -> None:
        record = PatientRecord(weight=155.5 / 2.2)
        self.assertEqual((record.text_of("weight"), record.weight), ("70.6818181818182", Decimal("70.6818181818182")))

    def test_none_makes_absent_and_empty_text_makes_empty(self) -> None:
        record = PatientRecord(weight=70)
        record.set_weight("")
        self.assertEqual((record.weight, record.state_of("weight")), (None, State.EMPTY))
        record.set_weight(None)
        self.assertEqual((record.weight, record.state_of("weight")), (None, State.ABSENT))

    def test_an_unknown_attribute_is_rejected(self) -> None:
        with self.assertRaisesRegex(TypeError, "unexpected keyword argument 'shoe_size'"):
            PatientRecord(shoe_size=43)  # type: ignore[call-arg]


class Diagnosis(unittest.TestCase):
    def test_a_change_is_logged_with_time_old_new_and_a_hash(self) -> None:
        record = PatientRecord(patient_id="P-1", diagnosis="Asthma")
        with self.assertLogs("section2", "INFO") as logged:
            record.update_diagnosis("Pneumonia")
        (line,) = (entry.getMessage() for entry in logged.records)
        self.assertRegex(
            line,
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d: diagnosis of patient [0-9a-f]{12} "
            r'changed from "Asthma" to "Pneumonia"$',
        )
        self.assertNotIn("P-1", line)
        self.assertEqual(record.diagnosis, "Pneumonia")

    def test_the_patient_id_is_logged_on_request(self) -> None:
        with self.assertLogs("section2", "INFO") as logged:
            PatientRecord(patient_id="P-1").update_diagnosis("Asthma", log_patient_id=True)
        self.assertIn('patient P-1 changed from none to "Asthma"', logged.output[0])

    def test_the_history_can_be_read_back(self) -> None:
        record = PatientRecord()
        with self.assertLogs("section2", "INFO"):
            record.update_diagnosis("Asthma")
            record.update_diagnosis("Pneumonia")
        self.assertEqual(
            [(change.old, change.new) for change in record.history], [(None, "Asthma"), ("Asthma", "Pneumonia")]
        )
        self.assertLessEqual(record.history[0].when, record.history[1].when)

    def test_the_same_diagnosis_is_not_a_change(self) -> None:
        record = PatientRecord(diagnosis="Asthma")
        with self.assertNoLogs("section2"):
            record.update_diagnosis("Asthma")
        self.assertEqual(record.history, [])

    def test_a_newline_cannot_forge_a_line_of_the_log(self) -> None:
        with self.assertLogs("section2", "INFO") as logged:
            PatientRecord().update_diagnosis("a\nINFO: b")
        self.assertNotIn("\n", logged.records[0].getMessage())

    def test_a_diagnosis_that_is_not_text_is_rejected(self) -> None:
        with self.assertRaises(TypeError):
            PatientRecord().update_diagnosis(5)  # type: ignore[arg-type]
        with self.assertRaises(TypeError):
            PatientRecord(diagnosis=5)  # type: ignore[arg-type]


class Showing(unittest.TestCase):
    def test_print_shows_everything_aligned(self) -> None:
        record = PatientRecord(**{name: given for name, (given, _) in VALUES.items()}, diagnosis="Asthma")
        self.assertEqual(
            str(record).splitlines(),
            [
                "Patient",
                "  Name                Doe^John",
                "  Patient ID          P-1",
                "  Type of patient ID  RFID",
                "  Birth date          1981-03-02",
                "  Sex                 F",
                "  Age                 018M",
                "  Weight              70.5 kg",
                "  Diagnosis           Asthma",
            ],
        )

    def test_repr_is_short_and_holds_no_name(self) -> None:
        text = repr(PatientRecord(name="Doe^John", patient_id="P-1"))
        self.assertRegex(text, r"^<PatientRecord patient [0-9a-f]{12}>$")

    def test_a_control_character_does_not_reach_the_terminal(self) -> None:
        self.assertNotIn("\x1b", str(PatientRecord(name="Doe\x1b[2J", diagnosis="\x1b[2J")))


class Comparing(unittest.TestCase):
    def test_equal_by_value(self) -> None:
        self.assertEqual(PatientRecord(name="Doe^John", weight="70"), PatientRecord(name="Doe^John^^^", weight="70.0"))

    def test_different_values_differ(self) -> None:
        for name, (given, _) in VALUES.items():
            with self.subTest(name):
                self.assertNotEqual(PatientRecord(**{name: given}), PatientRecord())
        self.assertNotEqual(PatientRecord(diagnosis="a"), PatientRecord(diagnosis="b"))
        self.assertNotEqual(PatientRecord(sex=""), PatientRecord())

    def test_records_are_not_hashable(self) -> None:
        with self.assertRaises(TypeError):
            hash(PatientRecord())


class Json(unittest.TestCase):
    def test_a_round_trip_loses_nothing(self) -> None:
        record = PatientRecord(**{name: given for name, (given, _) in VALUES.items()}, diagnosis="Asthma")
        record.set_sex("")
        with self.assertLogs("section2", "INFO"):
            record.update_diagnosis("Pneumonia")
        back = PatientRecord.from_json(record.to_json())
        self.assertEqual(back, record)
        self.assertEqual(back.to_json(), record.to_json())

    def test_other_json_is_rejected(self) -> None:
        empty = '{"type": "PatientRecord", "attributes": {}, "history": [], "diagnosis": '
        for text in ("", "[]", "{}", '{"type": "StudyRecord"}', f"{empty}5}}", f"{empty}{'[' * 100_000}"):
            with self.subTest(text), self.assertRaises(ValueError):
                PatientRecord.from_json(text)


class Inconsistencies(unittest.TestCase):
    def test_a_birth_date_in_the_future_is_reported(self) -> None:
        tomorrow = date.today() + timedelta(days=1)
        self.assertEqual(PatientRecord(birth_date=tomorrow).inconsistencies(), ["the birth date is in the future"])
        self.assertEqual(PatientRecord(birth_date=date.today()).inconsistencies(), [])


if __name__ == "__main__":
    unittest.main()
