"""What was read of DICOM files, in words and as facts for a program."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_reading import (
    CHARACTER_SET,
    ENDS_EARLY,
    MODALITY,
    PATIENT_NAME,
    STUDY_DATE,
    Header,
    State,
    Value,
    person_and_study,
    read_header,
    remark_on_character_set,
    value_at,
)
from dicom_tags import TagPath
from errors import InputError, printable, reason
from progress import with_progress

NAME_WIDTH, TABLE_TAGS = 28, (PATIENT_NAME, STUDY_DATE, MODALITY, CHARACTER_SET)


@dataclass(frozen=True)
class DicomReport:
    """One file: patient's name, study date, modality, and the data elements that were asked for."""

    path: Path
    patient_name: Value
    study_date: Value
    modality: Value
    elements: Sequence[Value]
    remarks: Sequence[str]

    @property
    def ends_early(self) -> bool:
        """Whether the file was cut short: what is reported is true, but more is missing."""
        return ENDS_EARLY in self.remarks

    def facts(self) -> dict[str, object]:
        """What `--json` shows."""
        return {
            "path": printable(str(self.path)),
            "patient_name": _fact(self.patient_name),
            "study_date": _fact(self.study_date),
            "modality": _fact(self.modality),
            "elements": [
                {"tag": str(value.path), "keyword": value.path.keyword, "vr": value.vr, **_fact(value)}
                for value in self.elements
            ],
            "remarks": list(self.remarks),
        }


def _fact(value: Value) -> dict[str, str]:
    return {"state": value.state.value} | ({"value": value.text} if value.state is State.PRESENT else {})


def report_on(path: Path, tags: Sequence[TagPath] = (), only: Sequence[int] | None = None) -> DicomReport:
    """Read one file.

    Raises:
        InputError: the file cannot be read or is not DICOM.

    """
    header = read_header(path, only)
    name, date, modality = person_and_study(header)
    return DicomReport(path, name, date, modality, [value_at(header, tag) for tag in tags], _remarks(header))


def _remarks(header: Header) -> list[str]:
    character_set = remark_on_character_set(header)
    return header.remarks + ([character_set] if character_set else [])


def report_lines(report: DicomReport) -> Iterator[str]:
    """The report on one file as a person reads it."""
    yield printable(str(report.path))
    rows = [("Patient's name", report.patient_name), ("Study date", report.study_date), ("Modality", report.modality)]
    rows += [(f"{value.path} {value.path.keyword}".rstrip(), value) for value in report.elements]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        yield f"  {label:<{width}}  {value}"
    yield from (f"  ! {remark}" for remark in report.remarks)


def files_below(folder: Path) -> list[tuple[Path, InputError | None]]:
    """All files in a folder and in the folders below it, in order; links to folders are not followed.

    A folder below that cannot be read is in the list with its error.

    Raises:
        InputError: the folder itself cannot be read.

    """
    found: list[tuple[Path, InputError | None]] = []

    def note(error: OSError) -> None:
        path = Path(error.filename)
        refused = InputError(f"{printable(str(path))}: the folder cannot be read ({reason(error)})")
        if path == folder:
            raise refused from error
        found.append((path, refused))

    for parent, folders, names in os.walk(folder, onerror=note):
        folders.sort()
        found += [(Path(parent, name), None) for name in sorted(names)]
    return found


def report_on_folder(folder: Path) -> Iterator[tuple[Path, DicomReport | InputError]]:
    """Every file below a folder with its report, or with what went wrong.

    Raises:
        InputError: the folder itself cannot be read.

    """
    for path, refused in with_progress(files_below(folder)):
        try:
            yield path, refused or report_on(path, only=TABLE_TAGS)
        except InputError as error:
            yield path, error


def table_header() -> str:
    """The heading over `table_line`s."""
    return f"{'Patient’s name':<{NAME_WIDTH}}  {'Study date':<10}  {'Modality':<8}  File"


def table_line(folder: Path, result: DicomReport | InputError, path: Path) -> str:
    """One file in a line; what went wrong stands in its place."""
    place = printable(str(path.relative_to(folder)))
    if isinstance(result, InputError):
        why = str(result).removeprefix(f"{printable(str(path))}: ").split(";")[0]
        return f"{'–':<{NAME_WIDTH}}  {'–':<10}  {'–':<8}  {place}  ! {why}"
    name = str(result.patient_name)
    name = name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…"
    remarks = "".join(f"  ! {remark}" for remark in result.remarks)
    return f"{name:<{NAME_WIDTH}}  {result.study_date!s:<10}  {result.modality!s:<8}  {place}{remarks}"
