import unittest

from support import PACKAGE_DATA, FilesTestCase, ct_image

# isort: split

from attributes import State
from dicom_loading import decode_text
from study_record import StudyRecord

FILES = {  # PS3.5 annexes H, I, J; pydicom's data/charset_files
    "chrArab": "قباني^لنزار",
    "chrFren": "Buc^Jérôme",
    "chrFrenMulti": "Buc^Jérôme",
    "chrGerm": "Äneas^Rüdiger",
    "chrGreek": "Διονυσιος",
    "chrH31": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw": "שרון^דבורה",
    "chrI2": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti": "やまだ^たろう",
    "chrJapMultiExplicitIR6": "やまだ^たろう",
    "chrKoreanMulti": "김희중",
    "chrRuss": "Люкceмбypг",
    "chrSQEncoding": None,
    "chrSQEncoding1": None,
    "chrX1": "Wang^XiaoDong=王^小東",
    "chrX2": "Wang^XiaoDong=王^小东",
}
K2 = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="  # PS3.5 K.2


class CharacterSets(FilesTestCase):
    def test_names_of_the_charset_files(self) -> None:
        files = {path.stem for path in (PACKAGE_DATA / "charset_files").glob("*.dcm")}
        self.assertEqual(files, set(FILES))
        for stem, expected in FILES.items():
            with self.subTest(stem):
                record = StudyRecord.from_dicom(PACKAGE_DATA / "charset_files" / f"{stem}.dcm")
                self.assertEqual(str(record.name) if record.name else None, expected)

    def test_gb2312_of_annex_k(self) -> None:
        self.assertEqual(decode_text(K2, "\\ISO 2022 IR 58"), "Zhang^XiaoDong=张^小东=")

    def test_characters_with_delimiter_bytes_stay_intact(self) -> None:
        cases = [("镕^朱", "gb18030", "GB18030"), ("俓^乗", "gb18030", "GB18030"), ("乗^乛", "gbk", "GBK")]
        for text, codec, character_set in cases:
            with self.subTest(text):
                self.assertEqual(decode_text(text.encode(codec), character_set), text)
        spring = "春".encode("iso2022_jp")  # its first byte is that of "="
        self.assertIn(b"=", spring)
        self.assertEqual(decode_text(b"A=" + spring + b"^B", "\\ISO 2022 IR 87"), "A=春^B")

    def test_undecodable_bytes_make_the_name_invalid(self) -> None:
        record = StudyRecord.from_dicom(self.patched(ct_image(), b"Doe^John", b"Doe^J\xf6rg"))
        self.assertEqual((record.state_of("name"), record.text_of("name")), (State.INVALID, "Doe^J\\xf6rg"))

    def test_damaged_escape_sequences_and_bytes_after_ascii_make_the_name_invalid(self) -> None:
        spring = "春".encode("iso2022_jp")
        for value in (spring + b"\xe5", spring.replace(b"$B", b"$:"), b"\x1b" + spring):
            with self.subTest(value):
                self.assertIn("\\x", decode_text(value, "\\ISO 2022 IR 87"))


if __name__ == "__main__":
    unittest.main()
