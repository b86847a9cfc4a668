"""Negotiate presentation contexts and roles as the acceptor of an association (PS3.8, 9.3.3; PS3.7, D.3)."""

import re
import struct
from functools import lru_cache

from pydicom.config import IGNORE
from pydicom.uid import UID

from ingest.dimse.pdu import (
    APPLICATION_CONTEXT,
    ASSOCIATE_AC,
    ASYNCHRONOUS_WINDOW,
    CONTEXT_AC,
    IMPLEMENTATION_UID,
    IMPLEMENTATION_VERSION,
    MAXIMUM_LENGTH,
    ROLE_SELECTION,
    TRANSFER_SYNTAX,
    USER_INFORMATION,
    AssociateRequest,
    ProposedContext,
    encode_item,
    encode_pdu,
)

APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"  # PS3.7, A.2.1
VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
# Patient Root and Study Root Query/Retrieve (PS3.4, C.6)
FINDS, MOVES, GETS = ({f"1.2.840.10008.5.1.4.1.2.{root}.{kind}" for root in (1, 2)} for kind in (1, 2, 3))
QUERY_CLASSES = frozenset(FINDS | MOVES | GETS)
QUERY_SYNTAXES = frozenset((IMPLICIT_LITTLE, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"))

# They stand in the file meta information of every instance stored so far: with others, each resend would be a conflict.
IMPLEMENTATION_CLASS = "1.2.826.0.1.3680043.9.3811.3.0.4"
IMPLEMENTATION_NAME = "PYNETDICOM_304"

_JPEG = [50, 51, 57, 70, 80, 81, *range(90, 96), *range(100, 109), 110, 111, 112, *range(201, 206)]
_ENDS = ["", ".1", ".1.99", ".2", ".5", ".7.1", ".7.2", ".7.3", ".8.1", *(f".4.{number}" for number in _JPEG)]
_FRAGMENTABLE = [f".4.{number}.1" for number in range(100, 107)]
TRANSFER_SYNTAXES = frozenset("1.2.840.10008.1.2" + end for end in _ENDS + _FRAGMENTABLE)  # PS3.6, A

UID_PATTERN = re.compile(r"[0-9]+(\.[0-9]+){1,31}\Z")  # leading zeros are met in real archives and do no harm

# Storage of objects that belong to no patient: hanging protocols, palettes, implant templates, protocols, inventories.
_PARTS = ("38.1", "39.1", "43.1", "44.1", "45.1", "1.1.200.1", "1.1.200.3", "1.1.200.7", "1.1.201.1")
WITHOUT_PATIENT = frozenset(f"1.2.840.10008.5.1.4.{part}" for part in _PARTS)
NOT_STORAGE = ("StorageCommitment", "StorageManagement", "MediaStorageDirectory")

# Results of a presentation context (PS3.8, 9.3.3.2)
ACCEPTED, USER_REJECTION, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 1, 3, 4


@lru_cache(maxsize=4096)
def is_storage_class(uid: str) -> bool:
    """Tell whether a SOP class stores instances of patients: a known one, also retired, or one that is not DICOM's."""
    known = UID(uid, validation_mode=IGNORE)
    if known.name == uid:  # not in the dictionary: private, or newer than it
        return bool(UID_PATTERN.match(uid))
    keyword = known.keyword
    return (
        known.type == "SOP Class"
        and "Storage" in keyword
        and not keyword.startswith(NOT_STORAGE)
        and uid not in WITHOUT_PATIENT
    )


class Negotiation:
    """The outcome for one A-ASSOCIATE-RQ.

    Attributes:
        accepted: Abstract and transfer syntax of each accepted presentation context, by its ID.
        receives: SOP classes that the requestor receives: of a C-GET, as their SCP.

    """

    def __init__(self, request: AssociateRequest, *, queries: bool = False) -> None:
        self._request = request
        self._queries = queries
        gets = queries and any(context.abstract_syntax in GETS for context in request.contexts)
        self.receives = {uid for uid, (_, scp) in request.roles.items() if gets and scp}
        self.accepted: dict[int, tuple[str, str]] = {}
        self._results = b"".join(self._negotiate(context) for context in request.contexts)

    def encode_accept(self, max_length: int) -> bytes:
        """Return the A-ASSOCIATE-AC (PS3.8, 9.3.3); `max_length` is the longest PDU to be sent here."""
        information = encode_item(MAXIMUM_LENGTH, max_length.to_bytes(4, "big"))
        information += encode_item(IMPLEMENTATION_UID, IMPLEMENTATION_CLASS.encode())
        if self._request.has_asynchronous_window:  # one operation at a time (PS3.7, D.3.3.3)
            information += encode_item(ASYNCHRONOUS_WINDOW, b"\0\1\0\1")
        accepted_classes = {abstract for abstract, _ in self.accepted.values()}
        for uid, (scu, _) in self._request.roles.items():  # SCP only in a C-GET (PS3.7, D.3.3.4)
            if uid in accepted_classes:
                content = struct.pack(">H", len(uid)) + uid.encode() + bytes([scu, uid in self.receives])
                information += encode_item(ROLE_SELECTION, content)
        information += encode_item(IMPLEMENTATION_VERSION, IMPLEMENTATION_NAME.encode())
        return encode_pdu(
            ASSOCIATE_AC,
            b"\0\1\0\0"
            + self._request.titles
            + encode_item(APPLICATION_CONTEXT, APPLICATION_CONTEXT_NAME.encode())
            + self._results
            + encode_item(USER_INFORMATION, information),
        )

    def _negotiate(self, context: ProposedContext) -> bytes:
        """Decide about a presentation context and return its result item."""
        abstract = context.abstract_syntax
        is_query = self._queries and abstract in QUERY_CLASSES
        known = QUERY_SYNTAXES if is_query else TRANSFER_SYNTAXES
        chosen = next((syntax for syntax in context.transfer_syntaxes if syntax in known), None)
        if abstract not in (VERIFICATION, STORAGE_COMMITMENT) and not (is_query or is_storage_class(abstract)):
            result = ABSTRACT_SYNTAX_NOT_SUPPORTED
        elif chosen is None:
            result = TRANSFER_SYNTAXES_NOT_SUPPORTED
        elif not self._request.roles.get(abstract, (True, False))[0] and abstract not in self.receives:
            result = USER_REJECTION  # the requestor wants to be SCP only
        else:
            result = ACCEPTED
            self.accepted[context.context_id] = abstract, chosen
        syntax = encode_item(TRANSFER_SYNTAX, (chosen or IMPLICIT_LITTLE).encode())  # not significant unless accepted
        return encode_item(CONTEXT_AC, bytes([context.context_id, 0, result, 0]) + syntax)
