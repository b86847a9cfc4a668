"""Section 2: records of patients and studies, loaded from DICOM.

Without arguments: a sample study, a value that is refused, a change of diagnosis.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

OK, FAILED, INTERRUPTED = 0, 1, 130
HERE = Path(__file__).parent

log = logging.getLogger("section2")


def show(paths: Sequence[str], form: str) -> int:
    """Print the study in each file or folder; what cannot be loaded is logged, and the others are still shown."""
    from dicom_json_export import to_dicom_json
    from dicom_loading import DicomError
    from fhir_export import to_fhir_imaging_study
    from study_record import StudyRecord

    failures = 0
    for number, path in enumerate(paths):
        try:
            record = StudyRecord.from_dicom(path)
        except DicomError as error:
            log.error("%s", error)  # noqa: TRY400 (one line, no traceback)
            failures += 1
            continue
        if form == "text":
            sys.stdout.write(("\n" if number else "") + f"{record}\n")
        elif form == "json":
            sys.stdout.write(record.to_json() + "\n")
        else:
            facts = to_dicom_json(record) if form == "dicom-json" else to_fhir_imaging_study(record)
            sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    return FAILED if failures else OK


def tour() -> int:
    """Show the section at work on its sample."""
    from attributes import InvalidValueError
    from study_record import StudyRecord

    sample = Path(os.path.relpath(HERE / "sample"))
    say = sys.stdout.write
    record = StudyRecord.from_dicom(sample)
    say(f">>> record = StudyRecord.from_dicom('{sample}')\n>>> print(record)\n{record}\n")
    for value in ("20190229", "235960"):
        setter, name = (
            (record.set_birth_date, "birth_date") if value.startswith("2019") else (record.set_study_time, "study_time")
        )
        say(f"\n>>> record.set_{name}('{value}')\n")
        try:
            setter(value)
        except InvalidValueError as error:
            say(f"InvalidValueError: {error}\n")
    say("\n>>> record.update_diagnosis('Pneumonia')   # the change goes to the log:\n")
    sys.stdout.flush()
    record.update_diagnosis("Pneumonia")
    say("\n>>> record\n" + repr(record) + "\n")
    same = StudyRecord.from_json(record.to_json()) == record
    say(f"\n>>> StudyRecord.from_json(record.to_json()) == record\n{same}\n")
    say("\nTry your own: python section2_oop/main.py FILE_OR_FOLDER ...   (--help shows the forms of export)\n")
    return OK


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="main.py",
        description="Show the study in DICOM files, or in folders of one study each. Without arguments: a sample.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  main.py section2_oop/sample\n  main.py scan.dcm --fhir",
    )
    top.add_argument("paths", nargs="*", metavar="FILE", help="a DICOM file, or a folder of one study")
    forms = top.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_const", const="json", dest="form", help="all that the record holds")
    forms.add_argument("--dicom-json", action="store_const", const="dicom-json", dest="form", help="DICOM JSON Model")
    forms.add_argument("--fhir", action="store_const", const="fhir", dest="form", help="FHIR R4 ImagingStudy")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 1 when something could not be loaded, 2 for wrong usage."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter shows its code
    arguments = parser().parse_args(argv)
    try:
        status = show(arguments.paths, arguments.form or "text") if arguments.paths else tour()
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        log.error("%s is missing: python -m pip install -r %s", error.name, HERE / "requirements.txt")  # noqa: TRY400
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return status


if __name__ == "__main__":
    sys.exit(main())
