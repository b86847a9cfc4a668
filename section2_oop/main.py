"""Section 2: records of patients and studies, loaded from DICOM.

Without arguments: a sample study, a rejected value, a change of diagnosis.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

OK, FAILED, INTERRUPTED = 0, 1, 130
HERE = Path(__file__).parent

log = logging.getLogger("section2")


def show(paths: Sequence[str], form: str | None) -> int:
    """Print the studies in each file or folder; errors are logged, and the other paths are still shown."""
    from dicom_json_export import to_dicom_json
    from dicom_loading import DicomError
    from fhir_export import to_fhir_imaging_study
    from study_record import StudyRecord

    forms: dict[str, Callable[[StudyRecord], object]] = {
        "json": StudyRecord.to_dict,
        "dicom-json": to_dicom_json,
        "fhir": to_fhir_imaging_study,
    }
    status, separator = OK, ""
    for path in paths:
        try:
            is_folder = Path(path).is_dir()
            records = StudyRecord.list_from_folder(path) if is_folder else [StudyRecord.from_dicom(path)]
        except DicomError as error:
            log.error("%s", error)  # noqa: TRY400 (one line, no traceback)
            status = FAILED
            continue
        for record in records:
            if form:
                print(json.dumps(forms[form](record), ensure_ascii=False))
            else:
                print(f"{separator}{record}")
                separator = "\n"
        if any(record.truncated for record in records):
            status = FAILED
    return status


def demo() -> int:
    """Show the section on its sample."""
    from attributes import InvalidValueError
    from study_record import StudyRecord

    sample = Path(os.path.relpath(HERE / "sample"))
    record = StudyRecord.from_dicom(sample)
    print(f">>> record = StudyRecord.from_dicom('{sample}')\n>>> print(record)\n{record}")
    print("\n>>> record.set_birth_date('20190229')")
    try:
        record.set_birth_date("20190229")
    except InvalidValueError as error:
        print(f"InvalidValueError: {error}")
    print("\n>>> record.update_diagnosis('Pneumonia')   # the change goes to the log:", flush=True)
    record.update_diagnosis("Pneumonia")
    print(f"\n>>> record\n{record!r}")
    same = StudyRecord.from_json(record.to_json()) == record
    print(f"\n>>> StudyRecord.from_json(record.to_json()) == record\n{same}")
    print("\nTry your own: python section2_oop/main.py FILE_OR_FOLDER ...   (--help shows the forms of export)")
    return OK


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    top = argparse.ArgumentParser(
        prog="main.py",
        description="Show the studies in DICOM files or folders. Without arguments: a sample.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  main.py section2_oop/sample\n  main.py scan.dcm --fhir",
    )
    top.add_argument("paths", nargs="*", metavar="FILE", help="a DICOM file or a folder")
    forms = top.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_const", const="json", dest="form", help="the complete record")
    forms.add_argument("--dicom-json", action="store_const", const="dicom-json", dest="form", help="DICOM JSON Model")
    forms.add_argument("--fhir", action="store_const", const="fhir", dest="form", help="FHIR R4 ImagingStudy")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 on success, 1 if a file is not DICOM or truncated, 2 for wrong usage."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # unsupported characters are shown as escapes
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.form and not arguments.paths:
        parser.error("an export needs a FILE")
    try:
        status = show(arguments.paths, arguments.form) if arguments.paths else demo()
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        log.error("%s is missing: python -m pip install -r %s", error.name, HERE / "requirements.txt")  # noqa: TRY400
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return status


if __name__ == "__main__":
    sys.exit(main())
