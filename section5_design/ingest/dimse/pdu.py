"""Encode, decode and transport the protocol data units of the DICOM upper layer (PS3.8, 9.3)."""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

# A-ABORT: source and reason (PS3.8, 9.3.8)
BY_USER, BY_PROVIDER = 0, 2
NOT_SPECIFIED, UNRECOGNIZED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER = 0, 1, 2, 6

PDU_HEADER = struct.Struct(">BxL")
ITEM_HEADER = struct.Struct(">BxH")
PDV_HEADER = struct.Struct(">LBB")  # length, presentation context ID, message control header (PS3.8, 9.3.5.1 and E.2)
FIXED_FIELDS = 68  # bytes of an A-ASSOCIATE-RQ before its items

APPLICATION_CONTEXT, CONTEXT_RQ, CONTEXT_AC = 0x10, 0x20, 0x21
ABSTRACT_SYNTAX, TRANSFER_SYNTAX, USER_INFORMATION = 0x30, 0x40, 0x50
MAXIMUM_LENGTH, IMPLEMENTATION_UID, ASYNCHRONOUS_WINDOW, ROLE_SELECTION, IMPLEMENTATION_VERSION = range(0x51, 0x56)


class ProtocolError(Exception):
    """The peer violated the upper layer's protocol; `reason` is the one to send in an A-ABORT."""

    def __init__(self, problem: str, reason: int = INVALID_PARAMETER) -> None:
        super().__init__(problem)
        self.reason = reason


class PduReader:
    """Reads one PDU after the other from a socket into one buffer that is reused.

    The memory views that `read` returns are valid until its next call.
    """

    def __init__(self, connection: socket.socket, buffer_size: int, max_length: int) -> None:
        self._connection = connection
        self._buffer = memoryview(bytearray(buffer_size))
        self._max_length = max_length
        self._start = self._end = 0  # the bytes received and not consumed yet

    def read(self, idle_seconds: float, pdu_seconds: float) -> tuple[int, memoryview] | None:
        """Return the type and the content of the next PDU, None when the peer closed the connection before it.

        Args:
            idle_seconds: How long to wait for the first byte, and for each further part.
            pdu_seconds: How long the PDU may take from its first byte to its last.

        Raises:
            OSError: The connection broke or ended within a PDU; a time limit passed (TimeoutError).
            ProtocolError: The PDU is longer than `max_length`.

        """
        self._connection.settimeout(idle_seconds)
        if self._start == self._end and not self._receive(PDU_HEADER.size):
            return None
        deadline = time.monotonic() + pdu_seconds
        self._fill(PDU_HEADER.size, deadline)
        kind, length = PDU_HEADER.unpack_from(self._buffer, self._start)
        if not ASSOCIATE_RQ <= kind <= ABORT:
            raise ProtocolError(f"unrecognized PDU type 0x{kind:02X}", UNRECOGNIZED_PDU)
        if length > self._max_length:
            raise ProtocolError(f"a PDU of {length:,} bytes exceeds the limit")
        self._fill(PDU_HEADER.size + length, deadline)
        begin = self._start + PDU_HEADER.size
        self._start = begin + length
        return kind, self._buffer[begin : self._start]

    @property
    def has_buffered(self) -> bool:
        """Return whether bytes were received and not consumed."""
        return self._end > self._start

    def discard(self) -> None:
        """Drop the bytes that were received and not consumed."""
        self._start = self._end = 0

    def _fill(self, count: int, deadline: float) -> None:
        """Receive until `count` bytes are buffered."""
        while self._end - self._start < count:
            if not self._receive(count):
                raise ConnectionResetError("the connection ended within a PDU")
            if time.monotonic() > deadline:  # a peer that sends byte by byte
                raise TimeoutError("a PDU takes too long")

    def _receive(self, count: int) -> int:
        """Receive what is available, with space for `count` bytes from the first unconsumed one."""
        if self._start == self._end:
            self._start = self._end = 0
        if self._start + count > len(self._buffer):
            pending = bytes(self._buffer[self._start : self._end])
            if count > len(self._buffer):
                self._buffer = memoryview(bytearray(count))
            self._buffer[: len(pending)] = pending
            self._start, self._end = 0, len(pending)
        received = self._connection.recv_into(self._buffer[self._end :])
        self._end += received
        return received


@dataclass
class ProposedContext:
    """A presentation context as the requestor proposes it (PS3.8, 9.3.2.2)."""

    context_id: int
    abstract_syntax: str = ""
    transfer_syntaxes: list[str] = field(default_factory=list)


@dataclass
class AssociateRequest:
    """The content of an A-ASSOCIATE-RQ (PS3.8, 9.3.2)."""

    protocol_version: int
    called: str
    calling: str
    titles: bytes
    """The two AE titles and the reserved bytes behind them, which the A-ASSOCIATE-AC repeats."""
    application_context: str = ""
    contexts: list[ProposedContext] = field(default_factory=list)
    max_length: int = 0
    roles: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """For each SOP class with an SCP/SCU role selection: whether the requestor proposes the SCU role, the SCP role."""
    has_asynchronous_window: bool = False


def decode_associate_request(content: memoryview) -> AssociateRequest:
    """Decode an A-ASSOCIATE-RQ (PS3.8, 9.3.2; user information: PS3.8, D and PS3.7, D.3.3).

    Raises:
        ProtocolError: Lengths contradict each other, or a presentation context ID is even or used twice.

    """
    if len(content) < FIXED_FIELDS:
        raise ProtocolError("an A-ASSOCIATE-RQ is too short")
    titles = bytes(content[4:FIXED_FIELDS])
    called, calling = (titles[at : at + 16].decode("ascii", "replace").strip(" \0") for at in (0, 16))
    request = AssociateRequest(int.from_bytes(content[:2], "big"), called, calling, titles)
    seen = set()
    for kind, item in iter_items(content[FIXED_FIELDS:]):
        if kind == APPLICATION_CONTEXT:
            request.application_context = decode_uid(item)
        elif kind == CONTEXT_RQ:
            context = _decode_context(item)
            if context.context_id % 2 == 0 or context.context_id in seen:
                raise ProtocolError("a presentation context ID is even or used twice")
            seen.add(context.context_id)
            request.contexts.append(context)
        elif kind == USER_INFORMATION:
            _decode_user_information(item, request)
    return request


def iter_items(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the content of each item or sub-item.

    Raises:
        ProtocolError: An item is longer than what contains it.

    """
    at = 0
    while at < len(content):
        if len(content) - at < ITEM_HEADER.size:
            raise ProtocolError("an item is cut short")
        kind, length = ITEM_HEADER.unpack_from(content, at)
        at += ITEM_HEADER.size
        if at + length > len(content):
            raise ProtocolError("an item is longer than its PDU")
        yield kind, content[at : at + length]
        at += length


def decode_uid(value: memoryview) -> str:
    """Return a UID without the padding that PS3.8, F does not want and some senders add."""
    return bytes(value).decode("ascii", "replace").strip(" \0")


def encode_item(kind: int, content: bytes) -> bytes:
    """Return an item or sub-item (PS3.8, 9.3.2)."""
    return ITEM_HEADER.pack(kind, len(content)) + content


def encode_pdu(kind: int, content: bytes) -> bytes:
    """Return a PDU."""
    return PDU_HEADER.pack(kind, len(content)) + content


def encode_reject(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8, 9.3.4)."""
    return encode_pdu(ASSOCIATE_RJ, bytes([0, result, source, reason]))


def encode_abort(source: int, reason: int) -> bytes:
    """Return an A-ABORT (PS3.8, 9.3.8)."""
    return encode_pdu(ABORT, bytes([0, 0, source, reason]))


def encode_command(context_id: int, command: bytes, max_length: int) -> bytes:
    """Return the P-DATA-TF PDUs that carry a command set to a peer that takes PDUs of `max_length` bytes.

    PS3.8, 9.3.5 and E.2; 0 stands for no limit.
    """
    size = max(2, max_length - PDV_HEADER.size) & ~1 if max_length else len(command)
    parts = [command[at : at + size] for at in range(0, len(command), size)]
    return b"".join(
        encode_pdu(P_DATA, PDV_HEADER.pack(len(part) + 2, context_id, 3 if number == len(parts) else 1) + part)
        for number, part in enumerate(parts, 1)
    )


def iter_fragments(content: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield context ID, message control header and fragment of each presentation data value (PS3.8, 9.3.5.1).

    Raises:
        ProtocolError: Lengths contradict each other, or there is no value.

    """
    at, end = 0, len(content)
    if not end:
        raise ProtocolError("a P-DATA-TF without a presentation data value")
    while at < end:
        if end - at < PDV_HEADER.size:
            raise ProtocolError("a presentation data value is cut short")
        length, context_id, control = PDV_HEADER.unpack_from(content, at)
        stop = at + 4 + length
        if length < 2 or stop > end:
            raise ProtocolError("a presentation data value does not fit its PDU")
        yield context_id, control, content[at + PDV_HEADER.size : stop]
        at = stop


def _decode_context(item: memoryview) -> ProposedContext:
    if len(item) < 4:
        raise ProtocolError("a presentation context is cut short")
    context = ProposedContext(item[0])
    for kind, value in iter_items(item[4:]):
        if kind == ABSTRACT_SYNTAX:
            context.abstract_syntax = decode_uid(value)
        elif kind == TRANSFER_SYNTAX:
            context.transfer_syntaxes.append(decode_uid(value))
    return context


def _decode_user_information(item: memoryview, request: AssociateRequest) -> None:
    """Read what matters to an acceptor; user identity and extended negotiation are ignored (PS3.7, D.3.3.5 to 7)."""
    for kind, value in iter_items(item):
        if kind == MAXIMUM_LENGTH and len(value) == 4:
            request.max_length = int.from_bytes(value, "big")
        elif kind == ASYNCHRONOUS_WINDOW:
            request.has_asynchronous_window = True
        elif kind == ROLE_SELECTION:
            length = int.from_bytes(value[:2], "big")
            if len(value) != length + 4:
                raise ProtocolError("a role selection does not fit its item")
            request.roles[decode_uid(value[2 : length + 2])] = bool(value[length + 2]), bool(value[length + 3])
