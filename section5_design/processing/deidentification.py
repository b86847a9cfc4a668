"""A stage before analysis, where a site wants it: de-identified by the Basic Profile (PS3.15, E.1-1, as of 2026c).

What is done to each attribute is the table of dicom-anonymizer; here it is applied on every level of a data set, and
identifiers become others that are always the same for the same secret (PS3.15, E.1: internally consistent), so that the
images of a study stay together. Pixels are not cleaned: an image that says that text is burned in is refused.
"""

import hashlib
import hmac
import io
import warnings
from functools import lru_cache
from typing import Any, BinaryIO

import pydicom
from dicomanonymizer.simpledicomanonymizer import initialize_actions
from django.conf import settings
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from processing.analysis import UnprocessableError

TABLE = "dicomfields_2026c"
IDENTIFIERS = ("replace_UID", "delete_or_empty_or_replace_UID")
PATIENT_ID = 0x00100020


def deidentified(file: BinaryIO) -> BinaryIO:
    """A DICOM file without what tells whose it is; in memory.

    Raises:
        UnprocessableError: it cannot be read as a whole, or it says that its pixels hold text (0028,0301).

    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(file, force=True)
        if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
            raise UnprocessableError("says that text is burned into its pixels, which de-identification does not clean")
        pseudonym = named(f"patient {dataset.get('PatientID', '')}")[:16]
        clean(dataset)
        dataset.PatientID = pseudonym
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "Basic Application Confidentiality Profile"
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"  # PS3.16, CID 7050
        code.CodeMeaning = "Basic Application Confidentiality Profile"
        dataset.DeidentificationMethodCodeSequence = Sequence([code])
        dataset.preamble = bytes(128)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        for keyword in ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle", "PrivateInformation"):
            dataset.file_meta.pop(keyword, None)
        target = io.BytesIO()
        dataset.save_as(target)
    target.seek(0)
    return target


def clean(dataset: Dataset) -> None:
    """Apply the table to a data set, the items of its sequences first."""
    for element in list(dataset):
        if element.VR == "SQ":
            for item in element.value:
                clean(item)
    dataset.remove_private_tags()
    for element in list(dataset):
        tag = element.tag
        action = action_of(tag.group, tag.element)
        if action is None:
            continue
        if action.__name__ in IDENTIFIERS and element.VR == "UI":
            element.value = replaced(element.value)
            continue
        try:
            action(dataset, (tag.group, tag.element))
        except NotImplementedError:  # no dummy for its kind of value: it goes
            del dataset[tag]


@lru_cache(maxsize=1)
def table() -> tuple[dict[tuple[int, int], Any], list[tuple[tuple[int, int, int, int], Any]]]:
    """Actions by tag, and those of repeating groups with their masks."""
    actions = initialize_actions(TABLE)
    return (
        {tag: action for tag, action in actions.items() if len(tag) == 2},
        [(tag, action) for tag, action in actions.items() if len(tag) > 2],
    )


def action_of(group: int, element: int) -> Any:
    """What the table says of an attribute; None where it is kept."""
    single, repeating = table()
    if (group, element) in single:
        return single[group, element]
    for (want_group, want_element, mask_group, mask_element), action in repeating:
        if group & mask_group == want_group & mask_group and element & mask_element == want_element & mask_element:
            return action
    return None


def replaced(value: Any) -> Any:
    """An identifier, or several, as others."""
    if isinstance(value, MultiValue):
        return [uid_of(str(one)) for one in value]
    return uid_of(str(value)) if value else value


def uid_of(old: str) -> str:
    """An identifier out of another: the same again for the same secret, and no way back (PS3.5, B.2)."""
    return f"2.25.{int(named(old), 16)}"


def named(text: str) -> str:
    """128 bits that nobody can guess without the secret, as hexadecimal digits."""
    return hmac.new(settings.UID_SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]
