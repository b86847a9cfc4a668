import io
import json
import re
import subprocess
import sys
import unittest
from contextlib import redirect_stderr

from support import PICTURES, SAMPLE, SECTION, FilesTestCase, ct_image, output_of

# isort: split

import main as command_line
from study_record import StudyRecord

README = (SECTION / "README.md").read_text(encoding="utf-8")


class CommandLine(FilesTestCase):
    def test_without_arguments_the_sample_is_shown(self) -> None:
        with self.assertLogs("section2", "INFO") as logged:
            status, output = output_of()
        self.assertEqual(status, 0)
        self.assertIn("Yamada^Tarou=山田^太郎=やまだ^たろう", output)
        self.assertIn("InvalidValueError: birth_date: '20190229'", output)
        self.assertIn("diagnosis of patient", logged.output[0])

    def test_files_are_shown_one_after_the_other(self) -> None:
        status, output = output_of(PICTURES / "CT_small.dcm", PICTURES / "MR_small.dcm")
        self.assertEqual(status, 0)
        self.assertEqual(re.findall(r"Modality +(\w+)", output), ["CT", "MR"])

    def test_an_unreadable_file_is_logged_and_the_others_are_shown(self) -> None:
        with self.assertLogs("section2", "ERROR") as logged:
            status, output = output_of(self.folder / "none.dcm", PICTURES / "CT_small.dcm")
        self.assertEqual(status, 1)
        self.assertIn("CompressedSamples^CT1", output)
        self.assertEqual(len(logged.output), 1)

    def test_every_study_of_a_folder_is_shown(self) -> None:
        self.saved(ct_image(), "a.dcm")
        self.saved(ct_image(StudyInstanceUID="1.2.4", SOPInstanceUID="1.2.4.1"), "b.dcm")
        status, output = output_of(self.folder)
        self.assertEqual(status, 0)
        self.assertEqual(re.findall(r"Study instance UID +(\S+)", output), ["1.2.3", "1.2.4"])

    def test_a_truncated_file_is_shown_with_status_1(self) -> None:
        path = self.folder / "cut.dcm"
        path.write_bytes((PICTURES / "CT_small.dcm").read_bytes()[:20_000])
        with self.assertLogs("section2", "WARNING") as logged:
            status, output = output_of(path)
        self.assertEqual(status, 1)
        self.assertIn("! truncated ", output)
        self.assertIn(f"{path}: the file is truncated", logged.output[0])

    def test_the_truncated_file_of_a_folder_is_named(self) -> None:
        content = (PICTURES / "CT_small.dcm").read_bytes()
        (self.folder / "complete.dcm").write_bytes(content)
        (self.folder / "cut.dcm").write_bytes(content[:20_000].replace(b"12322", b"12323"))
        with self.assertLogs("section2", "WARNING") as logged:
            self.assertEqual(output_of(self.folder)[0], 1)
        self.assertIn("cut.dcm: the file is truncated", logged.output[0])

    def test_a_form_of_export_without_a_file_is_a_usage_error(self) -> None:
        errors = io.StringIO()
        with self.assertRaises(SystemExit) as left, redirect_stderr(errors):
            output_of("--json")
        self.assertEqual(left.exception.code, 2)
        self.assertIn("an export needs a FILE", errors.getvalue())

    def test_from_json_reads_the_json(self) -> None:
        _, output = output_of(SAMPLE, "--json")
        self.assertEqual(StudyRecord.from_json(output), StudyRecord.from_dicom(SAMPLE))

    def test_exports_are_json(self) -> None:
        self.assertEqual(json.loads(output_of(SAMPLE, "--fhir")[1])["resourceType"], "ImagingStudy")
        self.assertEqual(json.loads(output_of(SAMPLE, "--dicom-json")[1])["00080060"]["Value"], ["CT"])


class Readme(unittest.TestCase):
    def test_the_command_prints_what_the_readme_shows(self) -> None:
        shown = re.search(r"\$ python section2_oop/main\.py (section2_oop/sample)\n(.*?)```", README, re.DOTALL)
        assert shown is not None
        command = [sys.executable, str(SECTION / "main.py"), str(SAMPLE)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.rstrip(), shown[2].rstrip())

    def test_the_table_names_every_attribute_with_tag_vr_and_rule(self) -> None:
        rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", README, re.MULTILINE))
        self.assertEqual(set(rows), {*StudyRecord.attributes})
        for name, attribute in StudyRecord.attributes.items():
            tag, vr, rule = rows[name].split(" | ")
            with self.subTest(name):
                self.assertEqual(tag, f"({attribute.tag >> 16:04X},{attribute.tag & 0xFFFF:04X}) {attribute.keyword}")
                self.assertEqual((vr, rule), (attribute.representation.vr, attribute.representation.rule))

    def test_every_option_is_named(self) -> None:
        for action in command_line.build_parser()._actions:
            for option in set(action.option_strings) - {"-h", "--help"}:
                self.assertIn(option, README)

    def test_every_dependency_has_its_reason(self) -> None:
        for line in (SECTION / "requirements.txt").read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                self.assertIn(re.split(r"[>=<;]", line)[0], README)


if __name__ == "__main__":
    unittest.main()
