"""The record of a study: the patient's, and what was examined when and how."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

from attributes import Attribute
from patient_record import PatientRecord, log
from value_representations import DATE, TIME_OF_DAY, UID, Time, code_string, integer_string

DAYS = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}


@dataclass(frozen=True)
class Series:
    """A series of a study: how many instances were found, and how many frames they have together."""

    uid: str
    number: int | None
    modality: str | None
    instances: int
    frames: int


class StudyRecord(PatientRecord):
    """A study of a patient: modality, date, time, UID, series number and number of frames, from a DICOM file or folder.

    `series` lists the series that were found. Of a folder, the attributes are those of its first instance, and
    `number_of_frames` is that of all instances together.
    """

    modality = Attribute(0x00080060, "Modality", code_string(), "Modality")
    study_date = Attribute(0x00080020, "StudyDate", DATE, "Study date")
    study_time = Attribute(0x00080030, "StudyTime", TIME_OF_DAY, "Study time")
    study_instance_uid = Attribute(0x0020000D, "StudyInstanceUID", UID, "Study instance UID")
    series_number = Attribute(
        0x00200011, "SeriesNumber", integer_string("of 32 bits", minimum=-(2**31)), "Series number"
    )
    number_of_frames = Attribute(
        0x00280008, "NumberOfFrames", integer_string("at least 1", minimum=1), "Number of frames"
    )

    def __init__(self, *, diagnosis: str | None = None, **values: object) -> None:
        super().__init__(diagnosis=diagnosis, **values)
        self.series: list[Series] = []

    # Getting and setting, in the words of methods

    def get_modality(self) -> str | None:
        """The modality, like CT."""
        return self.modality

    def set_modality(self, value: object) -> None:
        """Set the modality: a code like `CT` (CS)."""
        self.modality = value

    def get_study_date(self) -> date | None:
        """The date of the study."""
        return self.study_date

    def set_study_date(self, value: object) -> None:
        """Set the date of the study: a date, or text like `20260102` (DA)."""
        self.study_date = value

    def get_study_time(self) -> Time | None:
        """The time of the study; its `text` shows how precisely it is known."""
        return self.study_time

    def set_study_time(self, value: object) -> None:
        """Set the time of the study: a time, or text like `0930` or `093000.25` (TM)."""
        self.study_time = value

    def get_study_instance_uid(self) -> str | None:
        """The study instance UID."""
        return self.study_instance_uid

    def set_study_instance_uid(self, value: object) -> None:
        """Set the study instance UID: digits and dots (UI)."""
        self.study_instance_uid = value

    def get_series_number(self) -> int | None:
        """The series number."""
        return self.series_number

    def set_series_number(self, value: object) -> None:
        """Set the series number: a whole number (IS)."""
        self.series_number = value

    def get_number_of_frames(self) -> int | None:
        """The number of frames."""
        return self.number_of_frames

    def set_number_of_frames(self, value: object) -> None:
        """Set the number of frames: at least 1 (IS)."""
        self.number_of_frames = value

    # Loading

    @classmethod
    def from_dicom(cls, path: str | Path) -> Self:
        """A record of the study in a DICOM file, or of the one study in a folder.

        Raises:
            DicomError: the path holds no DICOM, or a folder holds several studies.

        """
        record = cls()
        record.load_from_dicom(path)
        return record

    def load_from_dicom(self, path: str | Path) -> None:
        """Take over all attributes from a DICOM file or from a folder of one study; the diagnosis stays.

        A value that breaks its rule is kept as it stands and reported through `logging`, as are contradictions.

        Raises:
            DicomError: the path holds no DICOM, or a folder holds several studies. The record is then as it was.

        """
        from dicom_loading import load

        self.fields, self.series = load(Path(path), self.attributes)
        for contradiction in self.contradictions():
            log.warning("study %s: %s", self.study_instance_uid or path, contradiction)

    # What the record holds

    def contradictions(self, today: date | None = None) -> list[str]:
        """What cannot be true together, in words without any patient's data. `today` is for tests."""
        today = today or date.today()
        found = super().contradictions(today)
        if self.study_date and self.study_date > today:
            found.append("the study date lies in the future")
        if self.study_date and self.birth_date and self.study_date < self.birth_date:
            found.append("the study date lies before the birth date")
        elif not self._age_fits():
            found.append("the age does not fit the birth date and the study date")
        return found

    def _age_fits(self) -> bool:
        """Whether the age is that on the day of the study, give or take one of its units."""
        if not (self.age and self.birth_date and self.study_date):
            return True
        lived = (self.study_date - self.birth_date).days / DAYS[self.age.unit]
        return -1 <= lived - self.age.number < 2  # ages are rounded down, some up

    def _essence(self) -> tuple[object, ...]:
        return *super()._essence(), self.series

    def __repr__(self) -> str:
        return f"<StudyRecord {self.study_instance_uid or 'without UID'} {self.modality or ''}".rstrip() + ">"

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield from super()._lines()
        yield "Study", ""
        for name, attribute in self.attributes.items():
            if name not in PatientRecord.attributes:
                yield f"  {attribute.label}", self._shown(attribute)
        for number, series in enumerate(self.series, 1):
            counts = f"{series.instances} {'instance' if series.instances == 1 else 'instances'}, {series.frames} "
            words = (f"number {series.number}" if series.number is not None else "", series.modality or "")
            yield (
                f"  Series {number} of {len(self.series)}",
                (", ".join(word for word in (*words, counts + ("frame" if series.frames == 1 else "frames")) if word)),
            )
        for contradiction in self.contradictions():
            yield "  ! contradiction", contradiction

    def _facts(self) -> dict[str, object]:
        return super()._facts() | {"series": [asdict(series) for series in self.series]}

    @classmethod
    def _from_facts(cls, facts: dict[str, Any]) -> Self:
        record = super()._from_facts(facts)
        record.series = [Series(**series) for series in facts["series"]]
        return record
