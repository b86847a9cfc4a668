"""De-identify a file before its analysis by the Basic Profile (PS3.15, E.1-1, as of 2026c), if the site wants that.

The action for each attribute comes from dicom-anonymizer's table; it is applied on every level of a data set. UIDs are
replaced consistently, derived from a secret (PS3.15, E.1), so that the images of a study stay together. Pixels are not
cleaned: an image with burned-in text is rejected.
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

from analysis.contract import UnprocessableError

TABLE = "dicomfields_2026c"
IDENTIFIERS = ("replace_UID", "delete_or_empty_or_replace_UID")
PATIENT_ID = 0x00100020


def deidentify(file: BinaryIO) -> BinaryIO:
    """Return a de-identified copy of a DICOM file, in memory.

    Raises:
        UnprocessableError: it cannot be read, or its pixels contain text by its own account (0028,0301).

    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(file, force=True)
        if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
            raise UnprocessableError("has burned-in text, which de-identification does not remove")
        pseudonym = derive_hex(f"patient {dataset.get('PatientID', '')}")[:16]
        apply_profile(dataset)
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


def apply_profile(dataset: Dataset) -> None:
    """Apply the profile to a data set, to the items of its sequences first."""
    for element in list(dataset):
        if element.VR == "SQ":
            for item in element.value:
                apply_profile(item)
    dataset.remove_private_tags()
    for element in list(dataset):
        tag = element.tag
        action = find_action(tag.group, tag.element)
        if action is None:
            continue
        if action.__name__ in IDENTIFIERS and element.VR == "UI":
            element.value = replace_uids(element.value)
            continue
        try:
            action(dataset, (tag.group, tag.element))
        except NotImplementedError:  # no dummy value for this VR: remove it
            del dataset[tag]


@lru_cache(maxsize=1)
def load_table() -> tuple[dict[tuple[int, int], Any], list[tuple[tuple[int, int, int, int], Any]]]:
    """Load the actions by tag, and those of repeating groups with their masks."""
    actions = initialize_actions(TABLE)
    return (
        {tag: action for tag, action in actions.items() if len(tag) == 2},
        [(tag, action) for tag, action in actions.items() if len(tag) > 2],
    )


def find_action(group: int, element: int) -> Any:
    """Return the action for an attribute; None if it is kept."""
    single, repeating = load_table()
    if (group, element) in single:
        return single[group, element]
    for (want_group, want_element, mask_group, mask_element), action in repeating:
        if group & mask_group == want_group & mask_group and element & mask_element == want_element & mask_element:
            return action
    return None


def replace_uids(value: Any) -> Any:
    """Replace a UID or several."""
    if isinstance(value, MultiValue):
        return [derive_uid(str(one)) for one in value]
    return derive_uid(str(value)) if value else value


def derive_uid(old: str) -> str:
    """Derive a UID from another, deterministic for a secret and irreversible (PS3.5, B.2)."""
    return f"2.25.{int(derive_hex(old), 16)}"


def derive_hex(text: str) -> str:
    """Derive 128 bits from a text and the secret, as hexadecimal digits."""
    return hmac.new(settings.UID_SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]
