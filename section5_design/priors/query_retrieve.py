"""Query and retrieve as a client: C-FIND of a patient's studies, C-MOVE of one to this system (PS3.4, C.4)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from delivery.dicom import AE_TITLE, OUT_OF_RESOURCES, SUCCESS, associate
from delivery.errors import RefusedError, UnavailableError
from priors.models import Archive

PENDING = (0xFF00, 0xFF01)
UNKNOWN_DESTINATION, SOME_FAILED = 0xA801, 0xB000
MAX_STUDIES = 1000  # of a patient
SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


@dataclass(frozen=True)
class FoundStudy:
    """A study of the archive; a value is empty if the archive does not return it."""

    uid: str
    date: str
    time: str
    modalities: tuple[str, ...]
    birth_date: str
    images: int | None


def find_studies(archive: Archive, patient_id: str) -> list[FoundStudy]:
    """Find the studies of a patient.

    Raises:
        RefusedError: the archive refused the query.
        UnavailableError: it cannot be reached, or did not answer completely.

    """
    query = Dataset()
    query.SpecificCharacterSet = "ISO_IR 192"
    query.QueryRetrieveLevel, query.PatientID = "STUDY", patient_id
    for keyword in ("StudyInstanceUID", "StudyDate", "StudyTime", "ModalitiesInStudy", "PatientBirthDate"):
        setattr(query, keyword, "")
    query.NumberOfStudyRelatedInstances = None
    model = StudyRootQueryRetrieveInformationModelFind
    found = []
    with associate(archive, [(model, SYNTAXES)]) as association:
        for status, row in iter_responses(association.send_c_find(query, model)):
            if status not in PENDING:
                check_status(status)
            elif row is not None and str(row.get("PatientID", "")).strip() == patient_id:  # it may hold a wildcard
                found.append(read_study(row))
            if len(found) > MAX_STUDIES:
                raise RefusedError(f"has more than {MAX_STUDIES} studies of the patient")
    return [one for one in found if one.uid]


def iter_responses(responses: Iterator[tuple[Dataset, Dataset | None]]) -> Iterator[tuple[int, Dataset | None]]:
    """Iterate over the statuses and identifiers of responses, to the final one.

    Raises:
        UnavailableError: an association ended, or no answer came.

    """
    for response, row in responses:
        if "Status" not in response:
            raise UnavailableError("did not answer, or ended the association")
        yield int(response.Status), row


def read_study(row: Dataset) -> FoundStudy:
    """Return a study of the responses."""

    def text(keyword: str) -> str:
        return str(row.get(keyword) or "").strip()

    modalities: Any = row.get("ModalitiesInStudy") or ()
    images = text("NumberOfStudyRelatedInstances")
    return FoundStudy(
        uid=text("StudyInstanceUID"),
        date=text("StudyDate"),
        time=text("StudyTime"),
        modalities=(modalities,) if isinstance(modalities, str) else tuple(modalities),
        birth_date=text("PatientBirthDate"),
        images=int(images) if images.isdecimal() else None,
    )


def move_study(archive: Archive, study_uid: str) -> int:
    """Let an archive send a study to this system; return how many images it sent.

    Raises:
        RefusedError: the archive refused, or does not know this system.
        UnavailableError: it cannot be reached, did not answer, or could not send every image.

    """
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_uid
    model = StudyRootQueryRetrieveInformationModelMove
    with associate(archive, [(model, SYNTAXES)]) as association:
        for response, _ in association.send_c_move(query, AE_TITLE, model):
            if "Status" not in response:
                raise UnavailableError("did not answer, or ended the association")
            if int(response.Status) not in PENDING:
                check_status(int(response.Status))
                return int(response.get("NumberOfCompletedSuboperations") or 0)
    raise UnavailableError("did not answer")


def check_status(status: int) -> None:
    """Check the final status of a C-FIND or a C-MOVE.

    Raises:
        RefusedError: it refused.
        UnavailableError: it did only a part, or is out of resources; trying again may help.

    """
    if status == UNKNOWN_DESTINATION:
        raise RefusedError(f"does not know {AE_TITLE} as a destination of C-MOVE")
    if status == SOME_FAILED or status in OUT_OF_RESOURCES:
        raise UnavailableError(f"could not send everything (status {status:04X})")
    if status != SUCCESS:
        raise RefusedError(f"refused the request (status {status:04X})")
