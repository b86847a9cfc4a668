"""What serves a C-FIND, C-MOVE or C-GET on an association: its responses, a cancellation, and C-STOREs to the peer."""

import select
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ingest.dimse import messages, pdu
from ingest.dimse.messages import Command
from ingest.dimse.pdu import PduReader, ProtocolError

MAX_FRAGMENT = 1 << 17  # bytes of a fragment to a peer without a limit


@dataclass(frozen=True)
class QueryRequest:
    """A request with its identifier, encoded in the transfer syntax of its presentation context."""

    command: Command
    calling: str
    address: str
    sop_class: str
    identifier: bytes
    transfer_syntax: str


@dataclass(frozen=True)
class OutgoingInstance:
    """An instance to send.

    Attributes:
        sop_class: its SOP class.
        sop_instance: its UID.
        content: its data set, without file meta information, in parts.
        size: bytes of the data set.

    """

    sop_class: str
    sop_instance: str
    content: Iterable[bytes]
    size: int


class StorageUser:
    """Sends instances over an association, in the presentation contexts that its peer accepted.

    Attributes:
        contexts: IDs of the contexts, by SOP class and transfer syntax.

    """

    def __init__(
        self,
        connection: socket.socket,
        reader: PduReader,
        contexts: dict[tuple[str, str], int],
        max_length: int,
        seconds: tuple[float, float],
    ) -> None:
        self.contexts = contexts
        self._connection, self._reader, self._max_length = connection, reader, max_length
        self._seconds = seconds  # idle, and of a PDU
        self._command_bytes = bytearray()
        self._message_id = 0

    def store(self, context_id: int, instance: OutgoingInstance, originator: tuple[str, int] | None = None) -> int:
        """Send an instance and return the status of the C-STORE-RSP.

        Raises:
            OSError: the connection broke, or a time limit passed.
            ProtocolError: the peer violated the protocol.

        """
        self._message_id = self._message_id % 0xFFFF + 1
        request = messages.encode_store_request(instance.sop_class, instance.sop_instance, self._message_id, originator)
        self._connection.settimeout(self._seconds[0])
        self._connection.sendall(pdu.encode_command(context_id, request, self._max_length))
        self._send_data_set(context_id, instance.content, instance.size)
        while True:
            command = self._receive()
            if command is not None and command.field == messages.C_STORE_RQ | messages.RESPONSE:
                return command.status

    def _send_data_set(self, context_id: int, content: Iterable[bytes], size: int) -> None:
        """Send a data set in fragments."""
        limit = max(2, (self._max_length or MAX_FRAGMENT) - pdu.PDV_HEADER.size) & ~1
        pending = b""
        for part in content:
            data = memoryview(pending + part if pending else part)
            at = 0
            pdus: list[bytes | memoryview] = []
            while size and len(data) - at >= (length := min(limit, size)):
                size -= length
                header = pdu.PDV_HEADER.pack(length + 2, context_id, 0 if size else 2)
                pdus += [pdu.PDU_HEADER.pack(pdu.P_DATA, len(header) + length), header, data[at : at + length]]
                at += length
            self._connection.sendall(b"".join(pdus))
            pending = bytes(data[at:])
        if size:
            raise ConnectionError("the data set is shorter than its size")

    def _receive(self) -> Command | None:
        """Receive a PDU; return the command that it completes."""
        received = self._reader.read(*self._seconds)
        if received is None or received[0] == pdu.ABORT:
            raise ConnectionResetError("the peer ended the association")
        kind, content = received
        if kind != pdu.P_DATA:
            raise ProtocolError("a PDU that does not belong to an operation", pdu.UNEXPECTED_PDU)
        found = None
        for _, control, fragment in pdu.iter_fragments(content):
            if not control & 1:
                continue  # the data set of a response, which has no meaning here
            self._command_bytes += fragment
            if len(self._command_bytes) > 1 << 14:
                raise ProtocolError("a command set is too long")
            if control & 2:
                found = messages.decode_command(self._command_bytes)
                self._command_bytes.clear()
                self._notice(found)
        return found

    def _notice(self, command: Command) -> None:
        """Act on a command that is not awaited."""


class QueryChannel(StorageUser):
    """Answers one request."""

    def __init__(
        self,
        connection: socket.socket,
        reader: PduReader,
        contexts: dict[tuple[str, str], int],
        max_length: int,
        seconds: tuple[float, float],
        request: tuple[int, Command],
    ) -> None:
        super().__init__(connection, reader, contexts, max_length, seconds)
        self._context_id, self._command = request
        self._cancelled = False

    def respond(self, status: int, identifier: bytes = b"", *, comment: str = "", counts: tuple[int, ...] = ()) -> None:
        """Send a response."""
        command = messages.encode_query_response(
            self._command, status, has_identifier=bool(identifier), comment=comment, counts=counts
        )
        self._connection.settimeout(self._seconds[0])
        self._connection.sendall(pdu.encode_command(self._context_id, command, self._max_length))
        if identifier:
            self._send_data_set(self._context_id, [identifier], len(identifier))

    def is_cancelled(self) -> bool:
        """Return whether the peer cancelled the request, without waiting for it."""
        while self._is_readable():
            self._receive()
        return self._cancelled

    def _is_readable(self) -> bool:
        if self._reader.has_buffered:
            return True
        if isinstance(self._connection, ssl.SSLSocket) and self._connection.pending():
            return True
        waiting = select.poll()
        waiting.register(self._connection.fileno(), select.POLLIN)
        return bool(waiting.poll(0))

    def _notice(self, command: Command) -> None:
        self._cancelled |= command.field == messages.C_CANCEL_RQ


QueryHandler = Callable[[QueryRequest, QueryChannel], None]
