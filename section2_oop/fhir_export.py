"""A record as FHIR R4 resources: Patient and ImagingStudy (https://hl7.org/fhir/R4/)."""

from typing import Any

from pydicom.valuerep import PersonName

from patient_record import PatientRecord, log_omissions
from series import Series
from study_record import StudyRecord

DICOM_UID = "urn:dicom:uid"
MODALITIES = "http://dicom.nema.org/resources/ontology/DCM"
REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
GENDERS = {"M": "male", "F": "female", "O": "other"}


def to_fhir_patient(record: PatientRecord) -> dict[str, Any]:
    """Return the Patient; age and weight, which it does not have, and invalid values are left out."""
    log_omissions(record)
    identifier = {"type": _drop_empty({"text": record.patient_id_type}), "value": record.patient_id}
    groups = zip(record.name.components if record.name else (), ("ABC", "IDE", "SYL"), strict=False)
    return _drop_empty(
        {
            "resourceType": "Patient",
            "identifier": [_drop_empty(identifier)] if record.patient_id else [],
            "name": [_human_name(group, code) for group, code in groups if group],
            "gender": GENDERS.get(record.sex or ""),
            "birthDate": record.birth_date and record.birth_date.isoformat(),
        }
    )


def to_fhir_imaging_study(record: StudyRecord) -> dict[str, Any]:
    """Return the ImagingStudy, with its Patient contained.

    `started` is a date: FHIR requires a time zone with every time of day, and the record has none.
    """
    uid = record.study_instance_uid
    modalities = {record.modality, *(series.modality for series in record.series)}
    return _drop_empty(
        {
            "resourceType": "ImagingStudy",
            "contained": [to_fhir_patient(record) | {"id": "patient"}],
            "status": "available",
            "subject": {"reference": "#patient"},
            "identifier": [{"system": DICOM_UID, "value": f"urn:oid:{uid}"}] if uid else [],
            "started": record.study_date and record.study_date.isoformat(),
            "modality": [_coding(modality) for modality in sorted(filter(None, modalities))],
            "numberOfSeries": len(record.series) or None,
            "numberOfInstances": sum(series.instances for series in record.series) or None,
            "series": [_series(series) for series in record.series if series.uid],
        }
    )


def _human_name(group: str, representation: str) -> dict[str, Any]:
    name = PersonName(group)
    return _drop_empty(
        {
            "extension": [{"url": REPRESENTATION, "valueCode": representation}],
            "family": name.family_name,
            "given": [given for given in (name.given_name, name.middle_name) if given],
            "prefix": [name.name_prefix] if name.name_prefix else [],
            "suffix": [name.name_suffix] if name.name_suffix else [],
        }
    )


def _coding(modality: str) -> dict[str, str]:
    return {"system": MODALITIES, "code": modality}


def _series(series: Series) -> dict[str, Any]:
    # FHIR requires a modality in every series; OT is DICOM's "other".
    return _drop_empty(
        {
            "uid": series.uid,
            "number": series.number if series.number is not None and series.number >= 0 else None,
            "modality": _coding(series.modality or "OT"),
            "numberOfInstances": series.instances,
        }
    )


def _drop_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value: FHIR forbids empty ones."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}
