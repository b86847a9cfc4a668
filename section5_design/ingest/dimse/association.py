"""One association as its acceptor: the state machine of PS3.8, 9.2, and the services behind it (PS3.7).

The states of PS3.8, Table 9-5 are the calls: `_establish` is Sta2 and Sta3, `_serve_messages` is Sta6,
`_await_close` is Sta13. Each association has a thread of its own, which waits in `recv`.
"""

import socket
import time
from dataclasses import dataclass
from typing import Protocol

from ingest.dimse import messages, pdu
from ingest.dimse.messages import Command
from ingest.dimse.negotiation import (
    APPLICATION_CONTEXT_NAME,
    QUERY_CLASSES,
    STORAGE_COMMITMENT,
    VERIFICATION,
    Negotiation,
)
from ingest.dimse.pdu import AssociateRequest, ProtocolError
from ingest.dimse.queries import QueryChannel, QueryRequest

# Statuses (PS3.7, C; PS3.4, B.2.3)
SUCCESS, SOP_CLASS_NOT_SUPPORTED, NO_SUCH_ACTION = 0x0000, 0x0122, 0x0123
UNRECOGNIZED_OPERATION, MISTYPED_ARGUMENT, RESOURCE_LIMITATION = 0x0211, 0x0212, 0x0213
CANNOT_UNDERSTAND, OUT_OF_RESOURCES = 0xC000, 0xA700

# Result, source and reason of an A-ASSOCIATE-RJ (PS3.8, 9.3.4)
Rejection = tuple[int, int, int]
APPLICATION_CONTEXT_NOT_SUPPORTED: Rejection = (1, 1, 2)
CALLING_TITLE_NOT_RECOGNIZED: Rejection = (1, 1, 3)
PROTOCOL_VERSION_NOT_SUPPORTED: Rejection = (1, 2, 2)
TEMPORARY_CONGESTION: Rejection = (2, 3, 1)
LOCAL_LIMIT_EXCEEDED: Rejection = (2, 3, 2)

MAX_COMMAND = 1 << 14  # bytes of a command set
REQUEST_COMMITMENT = 1  # the only action type of PS3.4, J.3.2


@dataclass(frozen=True)
class Settings:
    """Limits of an association, in bytes and in seconds."""

    max_pdu: int = 1 << 17  # as announced to the peer; larger ones bring nothing more
    longest_pdu: int = 1 << 20  # as tolerated, and of an A-ASSOCIATE-RQ
    idle_seconds: float = 60.0
    pdu_seconds: float = 60.0
    artim_seconds: float = 30.0  # to request an association, and to close the connection (PS3.8, 9.1.4)
    max_action: int = 32 << 20  # bytes of the data set of an N-ACTION, or of a query
    queries: bool = False  # whether C-FIND, C-MOVE and C-GET are served


@dataclass(frozen=True)
class ActionRequest:
    """A request for storage commitment (PS3.4, J.3.2): an N-ACTION with its data set."""

    calling: str
    transfer_syntax: str
    data_set: bytes


class Sink(Protocol):
    """Takes the bytes of one file while they arrive."""

    def write(self, part: memoryview | bytes) -> None:
        """Take the next bytes; they are only valid during the call. An error is to be kept for `finish`."""

    def finish(self) -> int:
        """Store the complete file and return the status of the C-STORE-RSP."""

    def abort(self) -> None:
        """Discard the file: the association ended before it was complete."""


class Handlers(Protocol):
    """What the application decides; the calls come from the association's thread."""

    def authorize(self, calling: str, called: str, address: str) -> Rejection | None:
        """Return why an association is rejected, None to accept it."""

    def open_sink(self, calling: str) -> Sink:
        """Return the sink for the file of a C-STORE, from its preamble to its last byte."""

    def commitment(self, request: ActionRequest) -> int:
        """Accept a request for storage commitment and return the status of the N-ACTION-RSP."""

    def query(self, request: QueryRequest, channel: QueryChannel) -> None:
        """Answer a C-FIND, C-MOVE or C-GET, to its last response."""


class Association:
    """One association, from the connection to its end."""

    def __init__(self, connection: socket.socket, address: str, settings: Settings, handlers: Handlers) -> None:
        self._connection = connection
        self._address = address
        self._settings = settings
        self._handlers = handlers
        self._reader = pdu.PduReader(connection, settings.max_pdu + pdu.PDU_HEADER.size, settings.longest_pdu)
        self._accepted: dict[int, tuple[str, str]] = {}
        self._calling = ""
        self._peer_max_length = 0
        # The message that is being received: its command set, then its data set.
        self._context_id = 0
        self._command_bytes = bytearray()
        self._command: Command | None = None
        self._sink: Sink | None = None
        self._data_set: bytearray | None = None
        self._query: tuple[Command, bytes] | None = None  # complete, to be answered
        self._receives: set[str] = set()

    def serve(self) -> bool:
        """Serve the association until it ends; the connection stays for the caller to close.

        Returns:
            whether the peer released it.

        Raises:
            OSError: The connection broke, or a time limit passed.

        """
        try:
            return self._establish() and self._serve_messages()
        except ProtocolError as error:  # AA-1, AA-8
            self._abort(error.reason)
            raise
        except TimeoutError:
            if self._accepted:  # otherwise ARTIM expired: AA-2
                self._connection.settimeout(1)
                self._connection.sendall(pdu.encode_abort(pdu.BY_PROVIDER, pdu.NOT_SPECIFIED))
            raise
        finally:
            if self._sink is not None:
                self._sink.abort()

    def _establish(self) -> bool:
        """Wait for a request and answer it (Sta2, Sta3); return whether there is an association."""
        limit = self._settings.artim_seconds
        received = self._reader.read(limit, limit)
        if received is None or received[0] == pdu.ABORT:  # AA-5, AA-2
            return False
        kind, content = received
        if kind != pdu.ASSOCIATE_RQ:  # AA-1
            raise ProtocolError("the first PDU is not an A-ASSOCIATE-RQ", pdu.UNEXPECTED_PDU)
        request = pdu.decode_associate_request(content)
        rejection = self._reject(request)
        if rejection:  # AE-8
            self._connection.sendall(pdu.encode_reject(*rejection))
            self._await_close()
            return False
        negotiation = Negotiation(request, queries=self._settings.queries)  # AE-7
        self._accepted, self._receives = negotiation.accepted, negotiation.receives
        self._calling, self._peer_max_length = request.calling, request.max_length
        self._connection.sendall(negotiation.encode_accept(self._settings.max_pdu))
        return True

    def _reject(self, request: AssociateRequest) -> Rejection | None:
        if not request.protocol_version & 1:
            return PROTOCOL_VERSION_NOT_SUPPORTED
        if request.application_context != APPLICATION_CONTEXT_NAME:
            return APPLICATION_CONTEXT_NOT_SUPPORTED
        return self._handlers.authorize(request.calling, request.called, self._address)

    def _serve_messages(self) -> bool:
        """Take messages until the peer releases, aborts or closes (Sta6); return whether it released."""
        read, idle, limit = self._reader.read, self._settings.idle_seconds, self._settings.pdu_seconds
        while (received := read(idle, limit)) is not None and received[0] != pdu.ABORT:  # AA-4, AA-3
            kind, content = received
            if kind == pdu.P_DATA:  # DT-2
                for context_id, control, fragment in pdu.iter_fragments(content):
                    self._take_fragment(context_id, control, fragment)
                self._answer_query()
            elif kind == pdu.RELEASE_RQ:  # AR-2, AR-4
                self._connection.sendall(pdu.encode_pdu(pdu.RELEASE_RP, bytes(4)))
                self._await_close()
                return True
            else:
                raise ProtocolError("a PDU that does not belong to an association", pdu.UNEXPECTED_PDU)
        return False

    def _take_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        """Take a fragment of a command set or of a data set (PS3.8, E.2)."""
        is_command, is_last = control & 1, control & 2
        starts = self._command is None and not self._command_bytes
        if bool(is_command) != (self._command is None) or not (starts or context_id == self._context_id):
            raise ProtocolError("a fragment that does not continue its message")
        if context_id not in self._accepted:
            raise ProtocolError("a fragment on a presentation context that was not accepted")
        self._context_id = context_id
        if is_command:
            self._command_bytes += fragment
            if len(self._command_bytes) > MAX_COMMAND:
                raise ProtocolError("a command set is too long")
            if is_last:
                self._begin_message()
        else:
            if self._sink is not None:
                self._sink.write(fragment)
            elif self._data_set is not None and len(self._data_set) <= self._settings.max_action:
                self._data_set += fragment
            if is_last:
                self._finish_message()

    def _begin_message(self) -> None:
        """Act on a complete command set, before its data set arrives."""
        command = messages.decode_command(self._command_bytes)
        self._command_bytes.clear()
        self._command = command
        if command.field & messages.RESPONSE:
            raise ProtocolError("a response to a request that was not sent", pdu.NOT_SPECIFIED)
        abstract, syntax = self._accepted[self._context_id]
        if not command.has_data_set:
            self._finish_message()
        elif self._stores(command, abstract):
            self._sink = self._handlers.open_sink(self._calling)
            self._sink.write(messages.encode_file_start(command.sop_class, command.sop_instance, syntax))
        elif (command.field == messages.N_ACTION_RQ and abstract == STORAGE_COMMITMENT) or (
            command.field in messages.QUERIES and abstract in QUERY_CLASSES
        ):
            self._data_set = bytearray()

    @staticmethod
    def _stores(command: Command, abstract: str) -> bool:
        """Tell whether a command is a C-STORE that can be stored."""
        others = {VERIFICATION, STORAGE_COMMITMENT, *QUERY_CLASSES}
        is_storage = command.field == messages.C_STORE_RQ and abstract not in others
        return is_storage and bool(command.sop_class and command.sop_instance)

    def _finish_message(self) -> None:
        """Answer a complete message."""
        command, data_set, sink = self._command, self._data_set, self._sink
        self._command = self._data_set = None
        if command is None or command.field == messages.C_CANCEL_RQ:  # nothing runs that could be cancelled
            return
        abstract, _ = self._accepted[self._context_id]
        if command.field in messages.QUERIES and abstract in QUERY_CLASSES and data_set is not None:
            self._query = command, bytes(data_set)
            return
        if sink is not None:
            status = sink.finish()
            self._sink = None
        else:
            status = self._status_for(command, data_set)
        response = messages.encode_response(command, status)
        self._connection.sendall(pdu.encode_command(self._context_id, response, self._peer_max_length))

    def _answer_query(self) -> None:
        """Answer a query once the PDU that completed it is consumed."""
        if self._query is None:
            return
        (command, identifier), self._query = self._query, None
        abstract, syntax = self._accepted[self._context_id]
        contexts = {pair: number for number, pair in self._accepted.items() if pair[0] in self._receives}
        channel = QueryChannel(
            self._connection,
            self._reader,
            contexts,
            self._peer_max_length,
            (self._settings.idle_seconds, self._settings.pdu_seconds),
            (self._context_id, command),
        )
        if len(identifier) > self._settings.max_action:
            channel.respond(OUT_OF_RESOURCES)
            return
        self._handlers.query(QueryRequest(command, self._calling, self._address, abstract, identifier, syntax), channel)

    def _status_for(self, command: Command, data_set: bytearray | None) -> int:
        """Return the status of every message that has no sink."""
        abstract, syntax = self._accepted[self._context_id]
        if command.field == messages.C_ECHO_RQ:
            return SUCCESS if abstract == VERIFICATION else SOP_CLASS_NOT_SUPPORTED
        if command.field == messages.C_STORE_RQ:
            unsupported = abstract in {VERIFICATION, STORAGE_COMMITMENT, *QUERY_CLASSES}
            return SOP_CLASS_NOT_SUPPORTED if unsupported else CANNOT_UNDERSTAND
        if command.field != messages.N_ACTION_RQ or abstract != STORAGE_COMMITMENT:
            return UNRECOGNIZED_OPERATION
        if command.action_type != REQUEST_COMMITMENT:
            return NO_SUCH_ACTION
        if data_set is None:
            return MISTYPED_ARGUMENT
        if len(data_set) > self._settings.max_action:
            return RESOURCE_LIMITATION
        return self._handlers.commitment(ActionRequest(self._calling, syntax, bytes(data_set)))

    def _abort(self, reason: int) -> None:
        """Send an A-ABORT and wait for the connection to close."""
        self._connection.sendall(pdu.encode_abort(pdu.BY_PROVIDER, reason))
        self._reader.discard()
        self._await_close()

    def _await_close(self) -> None:
        """Wait for the peer to close the connection, until the ARTIM timer expires (Sta13).

        What still arrives is discarded (AA-6); closing at once could make the system drop the last answer.
        """
        deadline = time.monotonic() + self._settings.artim_seconds
        buffer = bytearray(1 << 14)
        try:
            self._connection.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._connection.settimeout(left)
                if not self._connection.recv_into(buffer):
                    return
        except OSError:
            return


def serve_association(connection: socket.socket, address: str, settings: Settings, handlers: Handlers) -> bool:
    """Serve one association on an accepted connection, and close it.

    Returns:
        whether the peer released it.

    Raises:
        OSError: The connection broke, or a time limit passed.
        ProtocolError: The peer violated the protocol; it was sent an A-ABORT.

    """
    with connection:
        return Association(connection, address, settings, handlers).serve()
