"""C-FIND, C-MOVE and C-GET (PS3.4, C.4), Patient Root and Study Root, by the receiver's associations."""

import io
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID

from accounts.audit_events import about_study
from accounts.models import ApplicationEntity
from accounts.readers import Reader, entity_reader
from archive.encryption import ObjectIntegrityError
from archive.models import Instance
from archive.object_store import object_key, open_object
from audit.events import record_event
from ingest.dimse import messages
from ingest.dimse.commitment import decode_data_set
from ingest.dimse.negotiation import FINDS
from ingest.dimse.pdu import ProtocolError
from ingest.dimse.queries import OutgoingInstance, QueryChannel, QueryRequest, StorageUser
from ingest.dimse.requestor import RejectedError, associate
from query.attributes import (
    COUNTED,
    IMAGE,
    LEVELS,
    PATIENT,
    PATIENT_KEYWORDS,
    REQUESTS,
    UNIQUE_KEYS,
    columns_at,
    levels_to,
    matchable_at,
)
from query.errors import InvalidRequestError, NotAcceptableError
from query.pixels import can_decode, decode
from query.selectors import iter_rows, select

log = logging.getLogger("section5.query")

TITLE = "SECTION5"
PENDING, PENDING_WITH_UNSUPPORTED_KEYS, SUCCESS, CANCELLED = 0xFF00, 0xFF01, 0x0000, 0xFE00
NO_SUB_OPERATIONS, UNKNOWN_DESTINATION, NOT_AN_IDENTIFIER = 0xA702, 0xA801, 0xA900
SOME_FAILED, CANNOT_PROCESS = 0xB000, 0xC000
EXPLICIT_LITTLE, IMPLICIT_LITTLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.1."
NOT_KEYS = {"QueryRetrieveLevel", "SpecificCharacterSet", "RetrieveAETitle", "InstanceAvailability"}
MAX_BUFFERED = 64 << 20  # bytes of an instance that is read before it is sent, so that an altered one breaks nothing
MAX_INSTANCES = 0xFFFF  # of a request: a count has 16 bits


def serve_query(request: QueryRequest, channel: QueryChannel) -> None:
    """Answer a request, to its last response."""
    reader = entity_reader(request.calling, request.address)
    try:
        try:
            identifier = decode_data_set(request.identifier, request.transfer_syntax)
            level, keys = read_identifier(identifier, request.sop_class)
        except InvalidRequestError:
            raise
        except Exception as error:  # pydicom raises all kinds of errors on malformed data
            raise InvalidRequestError(f"the identifier cannot be read ({type(error).__name__})") from error
        if request.sop_class in FINDS:
            find(request, channel, reader, level, keys)
        else:
            retrieve(request, channel, reader, level, keys)
    except InvalidRequestError as error:
        log.info("from dicom:%s: %s", request.calling, error)
        channel.respond(NOT_AN_IDENTIFIER, comment=str(error))


def read_identifier(identifier: Dataset, sop_class: str) -> tuple[str, dict[str, str]]:
    """Return the level and the keys, by keyword; an empty key matches everything.

    Raises:
        InvalidRequestError: the level is missing, or does not belong to the root.

    """
    level = str(identifier.get("QueryRetrieveLevel", "")).strip()
    if level not in (*LEVELS, *((PATIENT,) if sop_class.startswith(PATIENT_ROOT) else ())):
        raise InvalidRequestError("QueryRetrieveLevel is missing, or unknown in this model")
    keys: dict[str, str] = {}
    for element in identifier:
        if element.keyword == REQUESTS and element.value:
            items = {f"{REQUESTS}.{one.keyword}": str(one.value or "") for one in element.value[0]}
            keys |= {REQUESTS: ""} | items
            continue
        value = "" if element.value is None or element.VR == "SQ" else element.value
        values = value if isinstance(value, MultiValue) else [value]
        if element.keyword not in NOT_KEYS and element.tag.element != 0:
            keys[element.keyword] = "\\".join(str(one) for one in values)
    return level, keys


def find(request: QueryRequest, channel: QueryChannel, reader: Reader, level: str, keys: dict[str, str]) -> None:
    """Answer a C-FIND: a response for each match."""
    matchable = PATIENT_KEYWORDS if level == PATIENT else matchable_at(level)
    computed = ("NumberOfPatientRelatedStudies",) if level == PATIENT else (*columns_at(level), *COUNTED[level])
    matched = {keyword: text for keyword, text in keys.items() if keyword in matchable}
    unsupported = set(keys) - {*matchable, *computed}
    upper = [UNIQUE_KEYS[name] for name in levels_to(level)] if level != PATIENT else []
    status, count = PENDING_WITH_UNSUPPORTED_KEYS if unsupported else PENDING, 0
    keywords = {keyword.partition(".")[0] for keyword in keys} | set(upper)
    for row in iter_rows(reader, level, matched, keywords):
        if channel.is_cancelled():
            channel.respond(CANCELLED)
            return
        wanted = {keyword: value for keyword, value in row.items() if keyword in keywords}
        channel.respond(status, encode(build_identifier(level, wanted), request.transfer_syntax))
        count += 1
    record_event("queried", reader.name, f"C-FIND, {level}: {count} rows", address=request.address)
    channel.respond(SUCCESS)


def build_identifier(level: str, values: dict[str, Any]) -> Dataset:
    """Return the identifier of a response."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.QueryRetrieveLevel = level
    dataset.RetrieveAETitle, dataset.InstanceAvailability = TITLE, "ONLINE"
    for keyword, value in values.items():
        if keyword == REQUESTS:
            value = [build_item(item) for item in value]
        setattr(dataset, keyword, [one for one in value if one] if isinstance(value, list) else value)
    return dataset


def build_item(values: dict[str, str]) -> Dataset:
    """Return an item of a sequence."""
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def encode(dataset: Dataset, transfer_syntax: str) -> bytes:
    """Encode an identifier."""
    target, syntax = io.BytesIO(), UID(transfer_syntax)
    dcmwrite(target, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return target.getvalue()


def retrieve(request: QueryRequest, channel: QueryChannel, reader: Reader, level: str, keys: dict[str, str]) -> None:
    """Answer a C-MOVE or a C-GET: send the instances that the unique keys name (PS3.4, C.4.2 and C.4.3)."""
    found = find_instances(reader, level, keys)
    command = request.command
    moves = command.field == messages.C_MOVE_RQ
    if moves:
        entity = ApplicationEntity.objects.filter(pk=command.destination, port__isnull=False).first()
        if entity is None:
            channel.respond(UNKNOWN_DESTINATION, comment="unknown destination, or its port is unknown")
            return
        sent, failed, cancelled = move(channel, request, entity, found)
    else:
        sent, failed, cancelled = send_all(channel, channel, found, None)
    for study, count in Counter(one.series.study for one in sent).items():
        detail = f"{count} instances" + (f" to {command.destination}" if moves else "")
        record_event("retrieved", reader.name, detail, subject=about_study(study), address=request.address)
    left = len(found) - len(sent) - len(failed)
    counts = (left, len(sent), len(failed), 0) if cancelled else (0, len(sent), len(failed), 0)
    status = CANCELLED if cancelled else SUCCESS
    if failed and not cancelled:
        status = SOME_FAILED if sent else NO_SUB_OPERATIONS
    report = Dataset()
    if failed:
        report.FailedSOPInstanceUIDList = [one.sop_instance_uid for one in failed]
    channel.respond(status, encode(report, request.transfer_syntax) if failed else b"", counts=counts)


def find_instances(reader: Reader, level: str, keys: dict[str, str]) -> list[Instance]:
    """Return the instances that the unique keys name.

    Raises:
        InvalidRequestError: the unique key of the level is missing, or names too many.

    """
    unique = {UNIQUE_KEYS[name]: keys.get(UNIQUE_KEYS[name], "") for name in (PATIENT, *LEVELS)}
    own = unique[UNIQUE_KEYS[level]]
    if not own or any(character in own for character in "*?"):
        raise InvalidRequestError(f"{UNIQUE_KEYS[level]} is required, without wildcards")
    found = select(reader.instances(), IMAGE, unique).select_related("series__study")
    instances = list(found.order_by("series", "instance_number", "pk")[: MAX_INSTANCES + 1])
    if len(instances) > MAX_INSTANCES:
        raise InvalidRequestError(f"the request names more than {MAX_INSTANCES} instances")
    return instances


Outcome = tuple[list[Instance], list[Instance], bool]  # sent, failed, whether the request was cancelled


def move(channel: QueryChannel, request: QueryRequest, entity: ApplicationEntity, found: list[Instance]) -> Outcome:
    """Send instances to an entity on a new association."""
    pairs = dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in found)
    contexts: list[tuple[str, list[str]]] = [(sop_class, [syntax]) for sop_class, syntax in pairs]
    contexts += [
        (sop_class, [syntax])
        for sop_class in dict.fromkeys(sop_class for sop_class, _ in pairs)
        for syntax in (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
        if (sop_class, syntax) not in pairs
    ]
    sent: list[Instance] = []
    try:
        with associate((entity.network, entity.port), (entity.title, TITLE), contexts) as user:
            return send_all(channel, user, found, (request.calling, request.command.message_id), sent)
    except (OSError, ProtocolError, RejectedError) as error:
        log.warning("to dicom:%s: instances were not sent (%s)", entity.title, type(error).__name__)
        stored = {one.pk for one in sent}
        return sent, [one for one in found if one.pk not in stored], False


def send_all(
    channel: QueryChannel,
    user: StorageUser,
    found: list[Instance],
    originator: tuple[str, int] | None,
    sent: list[Instance] | None = None,
) -> Outcome:
    """Send instances one after the other, each followed by a response with the counts."""
    sent = [] if sent is None else sent
    failed: list[Instance] = []
    for one in found:
        if channel.is_cancelled():
            return sent, failed, True
        (sent if send(user, one, originator) else failed).append(one)
        channel.respond(PENDING, counts=(len(found) - len(sent) - len(failed), len(sent), len(failed), 0))
    return sent, failed, False


def send(user: StorageUser, one: Instance, originator: tuple[str, int] | None) -> bool:
    """Send an instance as stored, or decoded if the peer does not accept that; return whether it was stored."""
    for syntax in dict.fromkeys((one.transfer_syntax_uid, EXPLICIT_LITTLE, IMPLICIT_LITTLE)):
        number = user.contexts.get((one.sop_class_uid, syntax))
        as_stored = syntax == one.transfer_syntax_uid
        if number is None or not (as_stored or can_decode(one)):
            continue
        try:
            size, content = open_data_set(one, "" if as_stored else syntax)
        except (NotAcceptableError, ObjectIntegrityError, FileNotFoundError) as error:
            log.error("instance %d cannot be sent (%s)", one.pk, type(error).__name__)  # noqa: TRY400
            return False
        outgoing = OutgoingInstance(one.sop_class_uid, one.sop_instance_uid, content, size)
        try:
            status = user.store(number, outgoing, originator)
        except ObjectIntegrityError as error:  # found in the middle of its data set: the association cannot go on
            raise ConnectionError(f"instance {one.pk} {error}") from error
        return status == SUCCESS or status & 0xF000 == 0xB000  # a warning
    return False


def open_data_set(one: Instance, syntax: str) -> tuple[int, Iterator[bytes]]:
    """Return the size of a data set, and its parts; decoded to a transfer syntax, or as stored if that is empty."""
    if syntax:
        file: Any = io.BytesIO(decode(one, implicit=syntax == IMPLICIT_LITTLE))
        size = len(file.getbuffer())
    else:
        file, size = open_object(object_key(one.sha256)), one.size
    skip_meta_information(file)
    size -= file.tell()
    if size <= MAX_BUFFERED:
        return size, iter([file.read()])
    return size, iter(lambda: file.read(1 << 20), b"")


def skip_meta_information(file: Any) -> None:
    """Set the position behind preamble, prefix and group 0002 (PS3.10, 7.1)."""
    position = 132
    while True:
        file.seek(position)
        header = file.read(12)
        if header[:2] != b"\2\0":
            file.seek(position)
            return
        long = header[4:6] in (b"OB", b"OW", b"UN", b"UT", b"SQ")
        length = int.from_bytes(header[8:12] if long else header[6:8], "little")
        position += (12 if long else 8) + length
