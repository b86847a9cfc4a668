"""Reports on DICOM files as text, CSV and JSON."""

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_header import MODALITY, Value, check_character_set, format_directory, get_value, iter_values, read_header
from dicom_tags import TagPath, format_tag
from errors import InputError, os_error_text, printable

MAIN_TAGS = {"patient_name": 0x00100010, "study_date": 0x00080020, "modality": MODALITY}
MAIN_LABELS = ("Patient's name", "Study date", "Modality")
WIDTHS = (28, 10, 8)
FURTHER_TAGS = (0x00041200, 0x00041220, 0x00080005)  # directory of a DICOMDIR, character set


@dataclass(frozen=True)
class DicomReport:
    """One file: patient's name, study date, modality, and the requested data elements; of a DICOMDIR, its content."""

    path: Path
    patient_name: Value
    study_date: Value
    modality: Value
    elements: Sequence[Value]
    remarks: Sequence[str]
    truncated: bool
    directory: Sequence[str]

    @property
    def main_values(self) -> tuple[Value, Value, Value]:
        """The three values that every report has."""
        return self.patient_name, self.study_date, self.modality

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON-compatible data."""
        data: dict[str, object] = {"path": printable(str(self.path))}
        data |= {name: _value_to_dict(value) for name, value in zip(MAIN_TAGS, self.main_values, strict=True)}
        data["elements"] = [
            {"tag": str(value.path), "keyword": value.path.keyword, "vr": value.vr, **_value_to_dict(value)}
            for value in self.elements
        ]
        data["remarks"] = list(self.remarks)
        return data | ({"directory": list(self.directory)} if self.directory else {})


def _value_to_dict(value: Value) -> dict[str, str]:
    return {"state": value.state} | ({"value": value.text} if value.state == "present" else {})


def build_report(path: Path, tags: Sequence[TagPath] = (), *, every: bool = False, table: bool = False) -> DicomReport:
    """Read one file: the data elements `tags`, or `every` one; `table` reads nothing else, which is faster."""
    only = [*MAIN_TAGS.values(), *FURTHER_TAGS, *(tag.parents[0][0] if tag.parents else tag.tag for tag in tags)]
    header = read_header(path, only if table else None)
    name, date, modality = (get_value(header, TagPath(tag)) for tag in MAIN_TAGS.values())
    elements = list(iter_values(header)) if every else [get_value(header, tag) for tag in tags]
    remarks = [*header.remarks, *check_character_set(header)]
    return DicomReport(path, name, date, modality, elements, remarks, header.truncated, format_directory(header))


def report_lines(report: DicomReport, *, tree: bool = False) -> Iterator[str]:
    """Yield the report on one file as text, its elements as a list or as an indented tree."""
    yield printable(str(report.path))
    rows = list(zip(MAIN_LABELS, report.main_values, strict=True))
    if not tree:
        rows += [(f"{value.path} {value.path.keyword}".rstrip(), value) for value in report.elements]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        yield f"  {label:<{width}}  {value}"
    if tree:
        yield from _tree_lines(report.elements)
    yield from (f"  {line}" for line in report.directory)
    yield from (f"  ! {remark}" for remark in report.remarks)


def _tree_lines(elements: Sequence[Value]) -> Iterator[str]:
    previous: tuple[tuple[int, int], ...] = ()
    for value in elements:
        parents, indent = value.path.parents, "    " * len(value.path.parents)
        if parents and parents != previous[: len(parents)]:
            yield f"{indent}item {parents[-1][1]}"
        previous = parents
        yield f"  {indent}{format_tag(value.path.tag)} {value.vr or '--'} {value.path.keyword or '-'}: {value}"


def walk_files(folder: Path) -> list[Path | InputError]:
    """Return all files below a folder, or in a ZIP archive, in order; links to folders are not followed.

    A folder or an archive below that cannot be read is in the list as its error.
    """
    found: list[Path | InputError] = []

    def add_error(error: OSError) -> None:
        problem = f"cannot be read ({os_error_text(error)})"
        found.append(InputError(Path(error.filename), problem, "check its permissions"))

    if folder.is_file():
        return _list_archive(folder)
    for parent, folders, names in os.walk(folder, onerror=add_error):
        folders.sort()
        for path in (Path(parent, name) for name in sorted(names)):
            found += _list_archive(path) if path.suffix.lower() == ".zip" else [path]
    for item in found:
        if isinstance(item, InputError) and item.path == folder:
            raise item
    return found


def _list_archive(path: Path) -> list[Path | InputError]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [path / info.filename.lstrip("/") for info in archive.infolist() if not info.is_dir()]
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return [InputError(path, "damaged or truncated ZIP archive", "fetch the file again")]


def report_folder(folder: Path, tags: Sequence[TagPath] = ()) -> Iterator[DicomReport | InputError]:
    """Yield the report on every file below a folder or in a ZIP archive, or its error."""
    for item in walk_files(folder):
        try:
            yield item if isinstance(item, InputError) else build_report(item, tags, table=True)
        except InputError as error:
            yield error


def table_header(tags: Sequence[TagPath]) -> str:
    """Return the heading of the `table_line`s."""
    return f"{_align([*MAIN_LABELS, *_names(tags)], tags)}  File"


def table_line(folder: Path, result: DicomReport | InputError, tags: Sequence[TagPath]) -> str:
    """Return the table line of one file; an error is at its end."""
    if isinstance(result, InputError):
        cells, remarks = ["–"] * (len(MAIN_TAGS) + len(tags)), [result.problem]
    else:
        cells, remarks = [str(value) for value in (*result.main_values, *result.elements)], list(result.remarks)
        remarks += ["a DICOMDIR: read it alone to list its patients, studies and series"] if result.directory else []
    name = Path(str(result.path)).relative_to(folder)
    return "  ! ".join([f"{_align(cells, tags)}  {printable(str(name))}", *remarks])


def _names(tags: Sequence[TagPath]) -> list[str]:
    return [tag.keyword or str(tag) for tag in tags]


def _align(cells: Sequence[str], tags: Sequence[TagPath]) -> str:
    widths = [*WIDTHS, *(max(16, len(name)) for name in _names(tags))]
    return "  ".join(
        f"{cell if len(cell) <= width else cell[: width - 1] + '…':<{width}}"
        for cell, width in zip(cells, widths, strict=True)
    )


def csv_header(tags: Sequence[TagPath]) -> list[str]:
    """Return the header of the `csv_row`s."""
    return ["file", *MAIN_TAGS, *_names(tags), "remarks"]


def csv_row(result: DicomReport | InputError, tags: Sequence[TagPath]) -> list[str]:
    """Return one file as a row of CSV; an absent or empty value is an empty cell, an error is in the last column."""
    if isinstance(result, InputError):
        return [str(result.path), *[""] * (len(MAIN_TAGS) + len(tags)), result.problem]
    values = (value.text for value in (*result.main_values, *result.elements))
    return [str(result.path), *values, "; ".join(result.remarks)]


def csv_elements(report: DicomReport) -> Iterator[list[str]]:
    """Yield every element of one file as a row of CSV, after a header."""
    yield ["tag", "keyword", "vr", "state", "value"]
    for value in report.elements:
        yield [str(value.path), value.path.keyword, value.vr, value.state, value.text]
