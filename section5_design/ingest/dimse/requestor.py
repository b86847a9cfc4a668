"""Request an association to store instances at another application entity (PS3.8, 9.2 and 9.3)."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ingest.dimse import pdu
from ingest.dimse.negotiation import (
    ACCEPTED,
    APPLICATION_CONTEXT_NAME,
    IMPLEMENTATION_CLASS,
    IMPLEMENTATION_NAME,
)
from ingest.dimse.pdu import PduReader, ProtocolError, decode_uid, encode_item, iter_items
from ingest.dimse.queries import StorageUser
from ingest.dimse.tls import client_context

MAX_PDU = 1 << 17
MAX_CONTEXTS = 128  # IDs are odd numbers to 255
CONNECT_SECONDS, IDLE_SECONDS = 10.0, 60.0


class RejectedError(Exception):
    """The peer rejected the association."""


@contextmanager
def associate(
    address: tuple[str, int], titles: tuple[str, str], contexts: Sequence[tuple[str, Sequence[str]]]
) -> Iterator[StorageUser]:
    """Associate with a peer, and release the association at the end.

    Args:
        address: host and port.
        titles: the called and the calling AE title.
        contexts: SOP classes, each with the transfer syntaxes of one presentation context.

    Raises:
        OSError: the connection failed.
        ProtocolError: the peer violated the protocol.
        RejectedError: it rejected the association.

    """
    with socket.create_connection(address, CONNECT_SECONDS) as plain_connection:
        plain_connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = client_context()
        connection = context.wrap_socket(plain_connection) if context else plain_connection
        proposed = contexts[:MAX_CONTEXTS]
        connection.sendall(encode_request(titles, proposed))
        reader = PduReader(connection, MAX_PDU + pdu.PDU_HEADER.size, 1 << 20)
        received = reader.read(IDLE_SECONDS, IDLE_SECONDS)
        if received is None or received[0] != pdu.ASSOCIATE_AC:
            raise RejectedError("the association was rejected")
        accepted, max_length = decode_accept(received[1], proposed)
        yield StorageUser(connection, reader, accepted, max_length, (IDLE_SECONDS, IDLE_SECONDS))
        with suppress(OSError, ProtocolError):  # everything was acknowledged
            connection.sendall(pdu.encode_pdu(pdu.RELEASE_RQ, bytes(4)))
            reader.read(CONNECT_SECONDS, CONNECT_SECONDS)


def encode_request(titles: tuple[str, str], contexts: Sequence[tuple[str, Sequence[str]]]) -> bytes:
    """Return an A-ASSOCIATE-RQ (PS3.8, 9.3.2)."""
    content = b"\0\1\0\0" + b"".join(title.encode("ascii", "replace").ljust(16)[:16] for title in titles) + bytes(32)
    content += encode_item(pdu.APPLICATION_CONTEXT, APPLICATION_CONTEXT_NAME.encode())
    for number, (abstract, syntaxes) in enumerate(contexts):
        item = bytes([2 * number + 1, 0, 0, 0]) + encode_item(pdu.ABSTRACT_SYNTAX, abstract.encode())
        item += b"".join(encode_item(pdu.TRANSFER_SYNTAX, syntax.encode()) for syntax in syntaxes)
        content += encode_item(pdu.CONTEXT_RQ, item)
    information = encode_item(pdu.MAXIMUM_LENGTH, MAX_PDU.to_bytes(4, "big"))
    information += encode_item(pdu.IMPLEMENTATION_UID, IMPLEMENTATION_CLASS.encode())
    information += encode_item(pdu.IMPLEMENTATION_VERSION, IMPLEMENTATION_NAME.encode())
    return pdu.encode_pdu(pdu.ASSOCIATE_RQ, content + encode_item(pdu.USER_INFORMATION, information))


def decode_accept(
    content: memoryview, contexts: Sequence[tuple[str, Sequence[str]]]
) -> tuple[dict[tuple[str, str], int], int]:
    """Return the accepted contexts, by SOP class and transfer syntax, and the longest PDU that the peer takes."""
    accepted: dict[tuple[str, str], int] = {}
    max_length = 0
    for kind, item in iter_items(content[pdu.FIXED_FIELDS :]):
        if kind == pdu.CONTEXT_AC and len(item) >= 4 and item[2] == ACCEPTED:
            number = item[0]
            syntaxes = [decode_uid(value) for kind, value in iter_items(item[4:]) if kind == pdu.TRANSFER_SYNTAX]
            if number % 2 == 0 or number // 2 >= len(contexts) or not syntaxes:
                raise ProtocolError("a presentation context that was not proposed")
            accepted.setdefault((contexts[number // 2][0], syntaxes[0]), number)
        elif kind == pdu.USER_INFORMATION:
            for sub_kind, value in iter_items(item):
                if sub_kind == pdu.MAXIMUM_LENGTH and len(value) == 4:
                    max_length = int.from_bytes(value, "big")
    return accepted, max_length
