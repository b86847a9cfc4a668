import unittest
from datetime import date, time
from decimal import Decimal
from typing import Any

from support import needs

# isort: split

needs("hypothesis", "hypothesis")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import value_representations as vr  # noqa: E402

ANY_TEXT = st.text(max_size=70)
SERIES = vr.integer_string(-(2**31))
REPRESENTATIONS: list[vr.ValueRepresentation[Any]] = [
    vr.PERSON_NAME,
    vr.AGE,
    vr.DATE,
    vr.TIME_OF_DAY,
    vr.UID,
    vr.WEIGHT,
    SERIES,
    vr.LONG_STRING,
    vr.code_string(),
    vr.code_string("M", "F", "O"),
]


class EveryRepresentation(unittest.TestCase):
    @given(ANY_TEXT)
    def test_any_text_is_parsed_or_rejected_with_the_rule(self, text: str) -> None:
        for representation in REPRESENTATIONS:
            try:
                value = representation.parse(text)
            except ValueError as error:
                self.assertEqual(str(error), representation.rule)
            else:
                self.assertEqual(representation.parse(representation.format(value)), value)

    def test_other_types_are_rejected(self) -> None:
        for representation in REPRESENTATIONS:
            for value in (b"M", [], {}, object(), True):
                with self.subTest(vr=representation.vr, value=value), self.assertRaises(ValueError):
                    representation.parse(value)

    def test_padding_is_ignored(self) -> None:
        self.assertEqual(vr.UID.parse("1.2\0"), "1.2")
        self.assertEqual(vr.code_string().parse("CT "), "CT")
        self.assertEqual(vr.WEIGHT.parse(" 70.5 "), Decimal("70.5"))


COMPONENT = st.text(st.characters(blacklist_characters="^=\\", blacklist_categories=["Cc", "Cs"]), max_size=10).map(
    str.strip
)
GROUP = st.lists(COMPONENT, max_size=5).map("^".join)


class Names(unittest.TestCase):
    @given(st.lists(GROUP, max_size=3).map("=".join))
    def test_components_and_groups_survive_a_round_trip(self, text: str) -> None:
        name = vr.PERSON_NAME.parse(text)
        self.assertEqual(vr.PERSON_NAME.parse(str(name)), name)

    def test_components_have_names(self) -> None:
        name = vr.PERSON_NAME.parse("Adams^John Robert Quincy^^Rev.^B.A. M.Div.")
        self.assertEqual((name.family_name, name.given_name, name.middle_name), ("Adams", "John Robert Quincy", ""))
        self.assertEqual((name.name_prefix, name.name_suffix), ("Rev.", "B.A. M.Div."))

    def test_groups_have_names(self) -> None:
        name = vr.PERSON_NAME.parse("Yamada^Tarou=山田^太郎=やまだ^たろう")
        self.assertEqual((name.ideographic, name.phonetic), ("山田^太郎", "やまだ^たろう"))

    def test_empty_components_at_the_end_make_no_difference(self) -> None:
        self.assertEqual(vr.PERSON_NAME.parse("Doe^John"), vr.PERSON_NAME.parse("Doe^John^^^=="))

    def test_forbidden_names(self) -> None:
        for text in ("a^b^c^d^e^f", "a=b=c=d", "x" * 65, "a\\b", "a\nb"):
            with self.subTest(text), self.assertRaises(ValueError):
                vr.PERSON_NAME.parse(text)


class Ages(unittest.TestCase):
    @given(st.integers(0, 999), st.sampled_from("DWMY"))
    def test_number_and_unit_survive_a_round_trip(self, number: int, unit: str) -> None:
        self.assertEqual(vr.AGE.parse(str(vr.Age(number, unit))), vr.Age(number, unit))

    def test_forbidden_ages(self) -> None:
        for text in ("42", "42Y", "0042Y", "018X", "018m", "-18M", "01８Y", "018M-020M"):
            with self.subTest(text), self.assertRaises(ValueError):
                vr.AGE.parse(text)

    def test_an_age_out_of_range_is_rejected_as_a_value_too(self) -> None:
        with self.assertRaises(ValueError):
            vr.AGE.parse(vr.Age(1000, "Y"))


class Dates(unittest.TestCase):
    @given(st.dates())
    def test_every_date_survives_a_round_trip(self, day: date) -> None:
        self.assertEqual(vr.DATE.parse(vr.DATE.format(day)), day)

    def test_forbidden_dates(self) -> None:
        for text in (
            "20190229",
            "1981/03/02",
            "1981.03.02",
            "1981",
            "19811301",
            "00000101",
            "20200101-20201231",
            "２０200101",
        ):
            with self.subTest(text), self.assertRaises(ValueError):
                vr.DATE.parse(text)


class Times(unittest.TestCase):
    @given(st.times())
    def test_every_time_survives_a_round_trip(self, moment: time) -> None:
        self.assertEqual(vr.TIME_OF_DAY.parse(vr.TIME_OF_DAY.format(moment)), moment)

    def test_short_and_fractional_times_keep_their_precision(self) -> None:
        for text, moment in {
            "09": time(9),
            "0930": time(9, 30),
            "093015": time(9, 30, 15),
            "093015.5": time(9, 30, 15, 500_000),
            "093015.000001": time(9, 30, 15, 1),
        }.items():
            with self.subTest(text):
                self.assertEqual(vr.TIME_OF_DAY.parse(text), moment)

    def test_a_time_is_displayed_with_its_precision(self) -> None:
        self.assertEqual([vr.display_time(text) for text in ("0930", "093015.50")], ["09:30", "09:30:15.50"])

    def test_forbidden_times(self) -> None:
        for text in ("235960", "2400", "0960", "9", "093", "09:30", "093015.", "093015.1234567", "0900-1000"):
            with self.subTest(text), self.assertRaises(ValueError):
                vr.TIME_OF_DAY.parse(text)


class Numbers(unittest.TestCase):
    @given(st.decimals(0, 10**6, places=3))
    def test_decimals_survive_a_round_trip(self, number: Decimal) -> None:
        self.assertEqual(vr.WEIGHT.parse(str(number)), number)

    @given(st.integers(-(2**31), 2**31 - 1))
    def test_integers_survive_a_round_trip(self, number: int) -> None:
        self.assertEqual(SERIES.parse(str(number)), number)

    def test_forbidden_decimals(self) -> None:
        for text in ("-1", "nan", "inf", "1_0", "1,5", "70 kg", "1" * 17, "７0", "70\\80", float("nan"), "1e", "0x1"):
            with self.subTest(text), self.assertRaises(ValueError):
                vr.WEIGHT.parse(text)

    def test_forbidden_integers(self) -> None:
        for text in ("2147483648", "1.0", "1A", "1e3", "0000000000001", "", 2**31, 1.0):
            with self.subTest(text), self.assertRaises(ValueError):
                SERIES.parse(text)


class TextsAndIdentifiers(unittest.TestCase):
    @given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6))
    def test_uids_of_numbers_are_accepted(self, numbers: list[int]) -> None:
        text = ".".join(map(str, numbers))
        self.assertEqual(vr.UID.parse(text), text)

    def test_forbidden_uids(self) -> None:
        for text in ("1.02", "1..2", ".1", "1.", "1.a", "1." * 32 + "1", "1/2", "1.２"):
            with self.subTest(text), self.assertRaises(ValueError):
                vr.UID.parse(text)

    def test_forbidden_codes(self) -> None:
        for text in ("ct", "C-T", "A" * 17, "ÉT", "M\\F"):
            with self.subTest(text), self.assertRaises(ValueError):
                vr.code_string().parse(text)

    def test_a_code_is_one_of_its_terms(self) -> None:
        sex = vr.code_string("M", "F", "O")
        self.assertEqual([sex.parse(term) for term in "MFO"], ["M", "F", "O"])
        for text in ("Male", "m", "X"):
            with self.subTest(text), self.assertRaises(ValueError):
                sex.parse(text)

    def test_forbidden_long_strings(self) -> None:
        for text in ("x" * 65, "a\\b", "a\nb", "a\0b"):
            with self.subTest(text), self.assertRaises(ValueError):
                vr.LONG_STRING.parse(text)


if __name__ == "__main__":
    unittest.main()
