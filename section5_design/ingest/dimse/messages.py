"""Decode and encode DIMSE command sets (PS3.7, 6.3 and E), and the file meta information (PS3.10, 7.1)."""

import struct
from dataclasses import dataclass

from ingest.dimse.negotiation import IMPLEMENTATION_CLASS, IMPLEMENTATION_NAME
from ingest.dimse.pdu import ProtocolError

# Command fields (PS3.7, E.1)
C_STORE_RQ, C_ECHO_RQ, N_ACTION_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0130, 0x0FFF
C_GET_RQ, C_FIND_RQ, C_MOVE_RQ = 0x0010, 0x0020, 0x0021
QUERIES = (C_GET_RQ, C_FIND_RQ, C_MOVE_RQ)
RESPONSE = 0x8000
NO_DATA_SET, WITH_DATA_SET = 0x0101, 0x0001

# Elements of group 0000
AFFECTED_CLASS, REQUESTED_CLASS, COMMAND_FIELD, MESSAGE_ID = 0x0002, 0x0003, 0x0100, 0x0110
RESPONDED_MESSAGE_ID, DATA_SET_TYPE, STATUS = 0x0120, 0x0800, 0x0900
AFFECTED_INSTANCE, REQUESTED_INSTANCE, ACTION_TYPE = 0x1000, 0x1001, 0x1008
MOVE_DESTINATION, PRIORITY, ERROR_COMMENT = 0x0600, 0x0700, 0x0902
COUNTS = (0x1020, 0x1021, 0x1022, 0x1023)  # of sub-operations: remaining, completed, failed, with a warning
MOVE_ORIGINATOR, MOVE_ORIGINATOR_MESSAGE = 0x1030, 0x1031
UIDS = {AFFECTED_CLASS, REQUESTED_CLASS, AFFECTED_INSTANCE, REQUESTED_INSTANCE}
NUMBERS = {COMMAND_FIELD, MESSAGE_ID, RESPONDED_MESSAGE_ID, DATA_SET_TYPE, STATUS, ACTION_TYPE}

ELEMENT = struct.Struct("<HHL")
SHORT = struct.Struct("<H")


@dataclass
class Command:
    """The elements of a command set that an acceptor of storage and verification needs."""

    field: int = 0
    message_id: int = 0
    has_data_set: bool = False
    sop_class: str = ""
    sop_instance: str = ""
    action_type: int = 0
    destination: str = ""
    status: int = 0


def decode_command(content: bytes | bytearray) -> Command:
    """Decode a command set, which is always encoded in Implicit VR Little Endian (PS3.7, 6.3.1).

    Raises:
        ProtocolError: It is no command set, or lacks its command field or message ID.

    """
    values: dict[int, str | int] = {}
    at = 0
    while at < len(content):
        if at + ELEMENT.size > len(content):
            raise ProtocolError("a command set is cut short")
        group, element, length = ELEMENT.unpack_from(content, at)
        at += ELEMENT.size
        value = content[at : at + length]
        at += length
        if group or len(value) < length:
            raise ProtocolError("a command set holds other elements, or is cut short")
        if element in UIDS:
            values[element] = value.decode("ascii", "replace").rstrip("\0 ")
        elif element == MOVE_DESTINATION:
            values[element] = value.decode("ascii", "replace").strip("\0 ")
        elif element in NUMBERS:
            if length != SHORT.size:
                raise ProtocolError("a number of a command set has not two bytes")
            (values[element],) = SHORT.unpack(value)
    if COMMAND_FIELD not in values:
        raise ProtocolError("a command set without a command field")
    command = Command(
        field=int(values[COMMAND_FIELD]),
        message_id=int(values.get(MESSAGE_ID, 0)),
        has_data_set=values.get(DATA_SET_TYPE, NO_DATA_SET) != NO_DATA_SET,
        sop_class=str(values.get(AFFECTED_CLASS) or values.get(REQUESTED_CLASS, "")),
        sop_instance=str(values.get(AFFECTED_INSTANCE) or values.get(REQUESTED_INSTANCE, "")),
        action_type=int(values.get(ACTION_TYPE, 0)),
        destination=str(values.get(MOVE_DESTINATION, "")),
        status=int(values.get(STATUS, 0)),
    )
    if MESSAGE_ID not in values and command.field != C_CANCEL_RQ and not command.field & RESPONSE:
        raise ProtocolError("a command set without a message ID")
    return command


def encode_response(command: Command, status: int) -> bytes:
    """Return the command set of a response without a data set (PS3.7, 9.3.1.2, 9.3.5.2 and 10.3.5.2)."""
    elements = [(AFFECTED_CLASS, encode_uid(command.sop_class))] if command.sop_class else []
    elements += [
        (COMMAND_FIELD, SHORT.pack(command.field | RESPONSE)),
        (RESPONDED_MESSAGE_ID, SHORT.pack(command.message_id)),
        (DATA_SET_TYPE, SHORT.pack(NO_DATA_SET)),
        (STATUS, SHORT.pack(status)),
    ]
    if command.sop_instance:
        elements.append((AFFECTED_INSTANCE, encode_uid(command.sop_instance)))
    if command.field == N_ACTION_RQ:
        elements.append((ACTION_TYPE, SHORT.pack(command.action_type)))
    return encode_elements(elements)


def encode_query_response(
    command: Command, status: int, *, has_identifier: bool, comment: str = "", counts: tuple[int, ...] = ()
) -> bytes:
    """Return the command set of a response to a C-FIND, C-MOVE or C-GET (PS3.7, 9.3.2.2, 9.3.3.2 and 9.3.4.2)."""
    elements = [
        (AFFECTED_CLASS, encode_uid(command.sop_class)),
        (COMMAND_FIELD, SHORT.pack(command.field | RESPONSE)),
        (RESPONDED_MESSAGE_ID, SHORT.pack(command.message_id)),
        (DATA_SET_TYPE, SHORT.pack(WITH_DATA_SET if has_identifier else NO_DATA_SET)),
        (STATUS, SHORT.pack(status)),
    ]
    if comment:
        elements.append((ERROR_COMMENT, encode_text(comment[:64])))
    elements += [(tag, SHORT.pack(count)) for tag, count in zip(COUNTS, counts, strict=False)]
    return encode_elements(elements)


def encode_store_request(
    sop_class: str, sop_instance: str, message_id: int, originator: tuple[str, int] | None
) -> bytes:
    """Return the command set of a C-STORE; of a C-MOVE, with its originator and message ID (PS3.7, 9.3.1.1)."""
    elements = [
        (AFFECTED_CLASS, encode_uid(sop_class)),
        (COMMAND_FIELD, SHORT.pack(C_STORE_RQ)),
        (MESSAGE_ID, SHORT.pack(message_id)),
        (PRIORITY, SHORT.pack(0)),
        (DATA_SET_TYPE, SHORT.pack(WITH_DATA_SET)),
        (AFFECTED_INSTANCE, encode_uid(sop_instance)),
    ]
    if originator:
        elements.append((MOVE_ORIGINATOR, encode_text(originator[0])))
        elements.append((MOVE_ORIGINATOR_MESSAGE, SHORT.pack(originator[1])))
    return encode_elements(elements)


def encode_elements(elements: list[tuple[int, bytes]]) -> bytes:
    """Return a command set: its elements, after their length."""
    content = b"".join(ELEMENT.pack(0, element, len(value)) + value for element, value in elements)
    return ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(content)) + content


def encode_file_start(sop_class: str, sop_instance: str, transfer_syntax: str) -> bytes:
    """Return preamble, prefix and file meta information for a data set that came by C-STORE (PS3.10, 7.1).

    The same arguments give the same bytes for ever: the SHA-256 of a file, and so whether an instance that comes a
    second time has the same content, depends on them.
    """
    elements = [(0x0001, b"OB\0\0" + struct.pack("<L", 2) + b"\0\1")]
    elements += [
        (element, b"UI" + SHORT.pack(len(value)) + value)
        for element, value in (
            (0x0002, encode_uid(sop_class)),
            (0x0003, encode_uid(sop_instance)),
            (0x0010, encode_uid(transfer_syntax)),
            (0x0012, encode_uid(IMPLEMENTATION_CLASS)),
        )
    ]
    elements.append((0x0013, b"SH" + SHORT.pack(len(IMPLEMENTATION_NAME)) + IMPLEMENTATION_NAME.encode()))
    content = b"".join(struct.pack("<HH", 0x0002, element) + value for element, value in elements)
    return bytes(128) + b"DICM" + struct.pack("<HH2sHL", 0x0002, 0, b"UL", 4, len(content)) + content


def encode_text(text: str) -> bytes:
    """Return a text, padded to an even length (PS3.5, 6.2)."""
    return text.encode("ascii", "replace") + b" " * (len(text) % 2)


def encode_uid(uid: str) -> bytes:
    """Return a UID, padded to an even length (PS3.5, 9.1)."""
    return uid.encode("ascii", "replace") + b"\0" * (len(uid) % 2)
