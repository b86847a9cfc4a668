"""The attributes that can be queried, by level (PS3.4, C.6; PS3.18, 10.6), each with its column of the archive."""

from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from archive.models import Instance, Series, Study
from ingest.header import INSTANCE_NUMBERS, REQUEST_IDS, SERIES_TEXTS, STUDY_TEXTS

PATIENT, STUDY, SERIES, IMAGE = "PATIENT", "STUDY", "SERIES", "IMAGE"
LEVELS = (STUDY, SERIES, IMAGE)
MODELS: dict[str, Any] = {STUDY: Study, SERIES: Series, IMAGE: Instance}
REQUESTS = "RequestAttributesSequence"  # of a series; its items are matched by their IDs
REQUEST_KEYS = {f"{REQUESTS}.{name}": name for name in REQUEST_IDS}
COLUMNS = {
    STUDY: {"StudyInstanceUID": "uid"} | {keyword: column for column, (keyword, _) in STUDY_TEXTS.items()},
    SERIES: {"SeriesInstanceUID": "uid", "SeriesNumber": "series_number", REQUESTS: "request_attributes"}
    | {keyword: column for column, (keyword, _) in SERIES_TEXTS.items()},
    IMAGE: {"SOPInstanceUID": "sop_instance_uid", "SOPClassUID": "sop_class_uid"}
    | {keyword: column for column, keyword in INSTANCE_NUMBERS.items()}
    | {"AvailableTransferSyntaxUID": "transfer_syntax_uid"},
}
# Computed from the instances that the reader may see.
COUNTED = {
    STUDY: (
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
        "ModalitiesInStudy",
        "SOPClassesInStudy",
    ),
    SERIES: ("NumberOfSeriesRelatedInstances",),
    IMAGE: (),
}
UNIQUE_KEYS = {PATIENT: "PatientID", STUDY: "StudyInstanceUID", SERIES: "SeriesInstanceUID", IMAGE: "SOPInstanceUID"}
PATIENT_KEYWORDS = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")


@dataclass(frozen=True)
class Column:
    """The column of an attribute, as a query at some level reaches it."""

    level: str
    path: str


def levels_to(level: str) -> tuple[str, ...]:
    """Return a level with those above it, from the study down."""
    return LEVELS[: LEVELS.index(level) + 1]


def columns_at(level: str) -> dict[str, Column]:
    """Return the columns that a query at a level can reach, by keyword."""
    found = {}
    for upper in levels_to(level):
        steps = [name.lower() for name in reversed(LEVELS[LEVELS.index(upper) : LEVELS.index(level)])]
        for keyword, column in COLUMNS[upper].items():
            found[keyword] = Column(upper, "__".join([*steps, column]))
    return found


def matchable_at(level: str) -> list[str]:
    """Return the keywords of the attributes that a query at a level can match."""
    columns = [keyword for keyword in columns_at(level) if keyword != REQUESTS]
    return [*columns, *(["ModalitiesInStudy"] if level == STUDY else REQUEST_KEYS)]


def find_keyword(name: str) -> str:
    """Return the keyword of an attribute that is given as keyword or as eight hexadecimal digits; empty if unknown."""
    if tag_for_keyword(name) is not None:
        return name
    try:
        return keyword_for_tag(int(name, 16)) if len(name) == 8 and name.isalnum() else ""
    except ValueError:
        return ""


def find_path(name: str) -> str:
    """Return the keywords of an attribute in sequences, such as RequestAttributesSequence.ScheduledProcedureStepID.

    It is empty if one of them is unknown.
    """
    keywords = [find_keyword(step) for step in name.split(".")]
    return ".".join(keywords) if all(keywords) else ""


def vr_of(keyword: str) -> str:
    """Return the VR of an attribute, which may be in sequences."""
    return dictionary_VR(keyword.rpartition(".")[2])
