"""The record of a study, with its patient."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from pydicom.valuerep import PersonName

import value_representations as vr
from attributes import ABSENT, Attribute, State
from dicom_loading import DicomError, Instance, Source, get_text, get_uid, iter_instances, read_instance
from patient_record import PatientRecord, log
from series import Series

DAYS = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
NOT_OF_THE_STUDY = {"modality", "series_number", "number_of_frames"}  # but of a series or an instance


class StudyRecord(PatientRecord):
    """A study of a patient: modality, date, time, UID, series number and number of frames, from a DICOM file or folder.

    `series` lists the series. The attributes of a folder are those of its first instance, and `number_of_frames` is
    the total of all instances. `truncated` is True when a file ended before its last element.
    """

    modality: Attribute[str, str] = Attribute("Modality", vr.code_string(), "Modality")
    study_date: Attribute[date, date | str] = Attribute("StudyDate", vr.DATE, "Study date")
    study_time: Attribute[time, time | str] = Attribute("StudyTime", vr.TIME_OF_DAY, "Study time")
    study_instance_uid: Attribute[str, str] = Attribute("StudyInstanceUID", vr.UID, "Study instance UID")
    series_number: Attribute[int, int | str] = Attribute("SeriesNumber", vr.integer_string(-(2**31)), "Series number")
    number_of_frames: Attribute[int, int | str] = Attribute("NumberOfFrames", vr.integer_string(1), "Number of frames")

    def __init__(
        self,
        name: PersonName | str | None = None,
        age: vr.Age | int | str | None = None,
        birth_date: date | str | None = None,
        sex: str | None = None,
        weight: Decimal | float | str | None = None,
        patient_id: str | None = None,
        patient_id_type: str | None = None,
        modality: str | None = None,
        study_date: date | str | None = None,
        study_time: time | str | None = None,
        study_instance_uid: str | None = None,
        series_number: int | str | None = None,
        number_of_frames: int | str | None = None,
        *,
        diagnosis: str | None = None,
    ) -> None:
        super().__init__(name, age, birth_date, sex, weight, patient_id, patient_id_type, diagnosis=diagnosis)
        self.modality, self.study_date, self.study_time = modality, study_date, study_time
        self.study_instance_uid, self.series_number = study_instance_uid, series_number
        self.number_of_frames = number_of_frames
        self.series: list[Series] = []
        self.truncated = False

    # Setters and getters

    def get_modality(self) -> str | None:
        """Return the modality, like CT."""
        return self.modality

    def set_modality(self, value: str | None) -> None:
        """Set the modality: a code like `CT` (CS)."""
        self.modality = value

    def get_study_date(self) -> date | None:
        """Return the date of the study."""
        return self.study_date

    def set_study_date(self, value: date | str | None) -> None:
        """Set the date of the study: a date, or text like `20260102` (DA)."""
        self.study_date = value

    def get_study_time(self) -> time | None:
        """Return the time of the study; `text_of` shows its precision."""
        return self.study_time

    def set_study_time(self, value: time | str | None) -> None:
        """Set the time of the study: a time, or text like `0930` or `093000.25` (TM)."""
        self.study_time = value

    def get_study_instance_uid(self) -> str | None:
        """Return the study instance UID."""
        return self.study_instance_uid

    def set_study_instance_uid(self, value: str | None) -> None:
        """Set the study instance UID: digits and dots (UI)."""
        self.study_instance_uid = value

    def get_series_number(self) -> int | None:
        """Return the series number."""
        return self.series_number

    def set_series_number(self, value: int | str | None) -> None:
        """Set the series number: an integer (IS)."""
        self.series_number = value

    def get_number_of_frames(self) -> int | None:
        """Return the number of frames."""
        return self.number_of_frames

    def set_number_of_frames(self, value: int | str | None) -> None:
        """Set the number of frames: at least 1 (IS)."""
        self.number_of_frames = value

    # Loading

    @classmethod
    def from_dicom(cls, source: Source) -> Self:
        """Return the study in a DICOM file, a binary file object, a pydicom Dataset, or a folder of one study.

        An invalid value is preserved and reported through `logging`, as are inconsistencies.

        Raises:
            DicomError: The source is not DICOM, or the folder has several studies.
        """
        if not isinstance(source, str | Path) or not Path(source).is_dir():
            instance = read_instance(source)
            return cls._merge([cls._from_instance(instance)], instance.source)
        studies = cls.list_from_folder(source)
        if len(studies) > 1:
            uids = ", ".join(study.text_of("study_instance_uid") or "no UID" for study in studies)
            raise DicomError(f"{source}: has {len(studies)} studies ({uids}); use list_from_folder")
        return studies[0]

    @classmethod
    def list_from_folder(cls, folder: str | Path) -> list[Self]:
        """Return every study in a folder and its subfolders, in the order of their first files.

        Raises:
            DicomError: The folder does not exist or contains no DICOM file.
        """
        if not Path(folder).is_dir():
            raise DicomError(f"{folder}: no such folder; check the path")
        studies: dict[str, list[Self]] = {}
        for instance in iter_instances(Path(folder)):
            record = cls._from_instance(instance)
            studies.setdefault(record.text_of("study_instance_uid"), []).append(record)
        if not studies:
            raise DicomError(f"{folder}: no DICOM file in this folder; choose another")
        return [cls._merge(records, str(folder)) for records in studies.values()]

    def load_from_dicom(self, source: Source) -> None:
        """Load all attributes from a DICOM source, as `from_dicom` does; the diagnosis is preserved.

        Raises:
            DicomError: The source is not DICOM, or the folder has several studies. The record is unchanged.
        """
        loaded = type(self).from_dicom(source)
        self.stored, self.series, self.truncated = loaded.stored, loaded.series, loaded.truncated

    @classmethod
    def _from_instance(cls, instance: Instance) -> Self:
        record, dataset = cls(), instance.dataset
        for name, attribute in cls.attributes.items():
            text = get_text(dataset, attribute.keyword)
            if text is None:
                continue
            record.stored[name] = attribute.parse_lenient(text)
            if record.state_of(name) is State.INVALID:
                rule = attribute.representation.rule
                log.warning("%s: %s is invalid and preserved as it is: it is not %s", instance.source, name, rule)
        is_image = "Rows" in dataset and "Columns" in dataset
        if is_image and record.state_of("number_of_frames") in (State.ABSENT, State.EMPTY):
            record.number_of_frames = 1  # the default of PS3.3 C.7.6.6
        uid = get_uid(dataset, "SeriesInstanceUID")
        record.series = [Series(uid, record.series_number, record.modality, 1, record.number_of_frames or 0)]
        record.truncated = instance.truncated
        return record

    @classmethod
    def _merge(cls, records: list[Self], source: str) -> Self:
        """Return the study of these instances, with the attributes of the first; differences are logged."""
        study = records[0]
        for name in sorted({*cls.attributes} - NOT_OF_THE_STUDY):
            if any(record.stored[name] != study.stored[name] for record in records):
                log.warning("%s: the instances differ in %s; the record has that of the first", source, name)
        groups: dict[str, list[Series]] = {}
        for record in records:
            groups.setdefault(record.series[0].uid, []).extend(record.series)
        study.series = [
            replace(members[0], instances=len(members), frames=sum(one.frames for one in members))
            for members in groups.values()
        ]
        study.truncated = any(record.truncated for record in records)
        if len(records) > 1:
            total = sum(series.frames for series in study.series)
            stored = cls.attributes["number_of_frames"].parse_lenient(str(total)) if total else ABSENT
            study.stored["number_of_frames"] = stored
        for inconsistency in study.inconsistencies():
            log.warning("study %s: %s", study.study_instance_uid or source, inconsistency)
        return study

    # Inconsistencies and output

    def inconsistencies(self, today: date | None = None) -> list[str]:
        """Return what cannot be true together, without patient data. `today` is for tests."""
        today = today or date.today()
        found = super().inconsistencies(today)
        if self.study_date and self.study_date > today:
            found.append("the study date is in the future")
        if self.study_date and self.birth_date:
            lived = (self.study_date - self.birth_date).days
            if lived < 0:
                found.append("the study date is before the birth date")
            elif self.age and not -1 <= lived / DAYS[self.age.unit] - self.age.number < 2:  # rounded down, some up
                found.append("the age does not fit the birth date and the study date")
        return found

    def __repr__(self) -> str:
        return f"<StudyRecord {self.study_instance_uid or 'without UID'} {self.modality or ''}".rstrip() + ">"

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield from super()._lines()
        yield "Study", ""
        for name, attribute in self.attributes.items():
            if name not in PatientRecord.attributes:
                yield f"  {attribute.label}", self._format(attribute)
        for number, series in enumerate(self.series, 1):
            yield f"  Series {number} of {len(self.series)}", str(series)
        if self.truncated:
            yield "  ! truncated", "a file is truncated or lacks required elements; attributes may be missing"
        for inconsistency in self.inconsistencies():
            yield "  ! inconsistency", inconsistency

    def to_dict(self) -> dict[str, object]:
        """Return the complete record as a dictionary of JSON values."""
        return super().to_dict() | {"series": [asdict(series) for series in self.series], "truncated": self.truncated}

    @classmethod
    def _from_dict(cls, content: dict[str, Any]) -> Self:
        record = super()._from_dict(content)
        record.series = [Series(**series) for series in content["series"]]
        record.truncated = content["truncated"]
        return record
