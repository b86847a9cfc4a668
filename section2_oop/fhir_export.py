"""A record as FHIR R4 resources: Patient and ImagingStudy (https://hl7.org/fhir/R4/)."""

from typing import Any

from patient_record import PatientRecord, log_omissions
from series import Series
from study_record import StudyRecord
from value_representations import NameGroup, PersonName

DICOM_UID = "urn:dicom:uid"
MODALITIES = "http://dicom.nema.org/resources/ontology/DCM"
REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
GENDERS = {"M": "male", "F": "female", "O": "other"}


def to_fhir_patient(record: PatientRecord) -> dict[str, Any]:
    """Return the Patient; age and weight, which it does not have, and invalid values are left out."""
    log_omissions(record)
    resource: dict[str, Any] = {"resourceType": "Patient"}
    if record.patient_id:
        kind = {"type": {"text": record.patient_id_type}} if record.patient_id_type else {}
        resource["identifier"] = [{**kind, "value": record.patient_id}]
    if record.name:
        resource["name"] = _names(record.name)
    if record.sex:
        resource["gender"] = GENDERS[record.sex]
    if record.birth_date:
        resource["birthDate"] = record.birth_date.isoformat()
    return resource


def to_fhir_imaging_study(record: StudyRecord) -> dict[str, Any]:
    """Return the ImagingStudy, with its Patient contained.

    `started` is a date: FHIR requires a time zone with every time of day, and the record has none.
    """
    resource: dict[str, Any] = {
        "resourceType": "ImagingStudy",
        "contained": [to_fhir_patient(record) | {"id": "patient"}],
        "status": "available",
        "subject": {"reference": "#patient"},
    }
    if record.study_instance_uid:
        resource["identifier"] = [{"system": DICOM_UID, "value": f"urn:oid:{record.study_instance_uid}"}]
    if record.study_date:
        resource["started"] = record.study_date.isoformat()
    modalities = sorted(
        {series.modality for series in record.series if series.modality} | {record.modality or ""} - {""}
    )
    if modalities:
        resource["modality"] = [_coding(modality) for modality in modalities]
    if record.series:
        resource["numberOfSeries"] = len(record.series)
        resource["numberOfInstances"] = sum(series.instances for series in record.series)
        resource["series"] = [_series(series) for series in record.series if series.uid]
    return {key: value for key, value in resource.items() if value != []}


def _names(name: PersonName) -> list[dict[str, Any]]:
    groups = ((name.alphabetic, "ABC"), (name.ideographic, "IDE"), (name.phonetic, "SYL"))
    return [_human_name(group, code) for group, code in groups if group]


def _human_name(group: NameGroup, representation: str) -> dict[str, Any]:
    parts = {
        "family": group.family,
        "given": [given for given in (group.given, group.middle) if given],
        "prefix": [group.prefix] if group.prefix else [],
        "suffix": [group.suffix] if group.suffix else [],
    }
    extension = {"extension": [{"url": REPRESENTATION, "valueCode": representation}]}
    return extension | {key: value for key, value in parts.items() if value}


def _coding(modality: str) -> dict[str, str]:
    return {"system": MODALITIES, "code": modality}


def _series(series: Series) -> dict[str, Any]:
    number = {"number": series.number} if series.number is not None and series.number >= 0 else {}
    # FHIR requires a modality in every series; OT is DICOM's "other".
    return {
        "uid": series.uid,
        **number,
        "modality": _coding(series.modality or "OT"),
        "numberOfInstances": series.instances,
    }
