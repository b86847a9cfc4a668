"""The upper layer's state machine (PS3.8, 9.2) and the messages (PS3.7), byte by byte over a socket."""

import contextlib
import io
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pynetdicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import UID
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_role, evt
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.sop_class import _QR_CLASSES, _STORAGE_CLASSES, ModalityWorklistInformationFind

from ingest.dimse import messages, pdu
from ingest.dimse.association import ActionRequest, Rejection, Settings, serve_association
from ingest.dimse.negotiation import (
    APPLICATION_CONTEXT_NAME,
    STORAGE_COMMITMENT,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    is_storage_class,
)
from ingest.dimse.pdu import ProtocolError
from system import needs

CT, CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2", Path(str(get_testdata_file("CT_small.dcm")))
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


class MemorySink:
    """Keeps a file in memory; `state` is what became of it."""

    def __init__(self, status: int) -> None:
        self.content = bytearray()
        self.state = "open"
        self._status = status

    def write(self, part: memoryview | bytes) -> None:
        self.content += part

    def finish(self) -> int:
        self.state = "finished"
        return self._status

    def abort(self) -> None:
        self.state = "aborted"


class Receiver:
    """An acceptor on a free port; `wait` returns how each association ended."""

    def __init__(self, **limits: Any) -> None:
        self.settings = Settings(**limits)
        self.sinks: list[MemorySink] = []
        self.requests: list[ActionRequest] = []
        self.rejection: Rejection | None = None
        self.status = 0
        self.ends: list[BaseException | None] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def authorize(self, calling: str, called: str, address: str) -> Rejection | None:  # noqa: ARG002
        self.titles = calling, called
        return self.rejection

    def open_sink(self, calling: str) -> MemorySink:  # noqa: ARG002
        self.sinks.append(MemorySink(self.status))
        return self.sinks[-1]

    def commitment(self, request: ActionRequest) -> int:
        self.requests.append(request)
        return 0

    def query(self, request: object, channel: object) -> None:  # noqa: ARG002
        """Not reached: queries are not enabled."""
        raise AssertionError

    def wait(self) -> list[BaseException | None]:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        self._listener.close()
        return self.ends

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection, address[0]))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, address: str) -> None:
        try:
            serve_association(connection, address, self.settings, self)
        except (OSError, ProtocolError) as error:
            self.ends.append(error)
        else:
            self.ends.append(None)


@pytest.fixture
def make_receiver() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(**limits: Any) -> Receiver:
        made.append(Receiver(**limits))
        return made[-1]

    yield make
    for one in made:
        with contextlib.suppress(OSError):
            one.wait()


@pytest.fixture
def receiver(make_receiver: Callable[..., Receiver]) -> Receiver:
    return make_receiver()


class Peer:
    """A requestor that sends any bytes."""

    def __init__(self, receiver: Receiver, *, associate: bool = True, **request: Any) -> None:
        self.socket = socket.create_connection(("127.0.0.1", receiver.port), timeout=10)
        if associate:
            self.send(associate_request(**request))
            assert self.receive()[0] == pdu.ASSOCIATE_AC

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def receive(self) -> tuple[int, bytes]:
        """The next PDU; (0, b"") when the receiver closed the connection."""
        header = self._exactly(6)
        if not header:
            return 0, b""
        kind, length = pdu.PDU_HEADER.unpack(header)
        return kind, self._exactly(length)

    def receive_status(self) -> int:
        kind, content = self.receive()
        assert kind == pdu.P_DATA
        return int.from_bytes(element(content[6:], messages.STATUS), "little")

    def _exactly(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count and (part := self.socket.recv(count - len(parts))):
            parts += part
        return parts


def element(command: bytes, wanted: int) -> bytes:
    """The value of an element of a command set."""
    at = 0
    while at < len(command):
        _, number, length = messages.ELEMENT.unpack_from(command, at)
        if number == wanted:
            return command[at + 8 : at + 8 + length]
        at += 8 + length
    raise AssertionError(f"no element {wanted:04X}")


def context(number: int, abstract: str, *syntaxes: str) -> bytes:
    parts = pdu.encode_item(pdu.ABSTRACT_SYNTAX, abstract.encode())
    parts += b"".join(pdu.encode_item(pdu.TRANSFER_SYNTAX, syntax.encode()) for syntax in syntaxes)
    return pdu.encode_item(pdu.CONTEXT_RQ, bytes([number, 0, 0, 0]) + parts)


DEFAULT_CONTEXTS = (
    context(1, VERIFICATION, IMPLICIT) + context(3, CT, EXPLICIT, IMPLICIT) + context(5, STORAGE_COMMITMENT, IMPLICIT)
)


def associate_request(
    contexts: bytes = DEFAULT_CONTEXTS, name: str = APPLICATION_CONTEXT_NAME, version: int = 1, information: bytes = b""
) -> bytes:
    start = struct.pack(">HH16s16s32x", version, 0, b"SECTION5".ljust(16), b"PEER".ljust(16))
    items = pdu.encode_item(pdu.APPLICATION_CONTEXT, name.encode()) + contexts
    return pdu.encode_pdu(pdu.ASSOCIATE_RQ, start + items + pdu.encode_item(pdu.USER_INFORMATION, information))


def command(
    field: int, *, data_set: bool = False, sop_class: str = CT, instance: str = "1.2.3", action: int = 0
) -> bytes:
    elements = [(messages.AFFECTED_CLASS, messages.encode_uid(sop_class))]
    elements += [(messages.COMMAND_FIELD, field.to_bytes(2, "little")), (messages.MESSAGE_ID, b"\7\0")]
    elements += [(messages.DATA_SET_TYPE, b"\0\0" if data_set else b"\1\1")]
    elements += [(messages.AFFECTED_INSTANCE, messages.encode_uid(instance))] if instance else []
    elements += [(messages.ACTION_TYPE, action.to_bytes(2, "little"))] if action else []
    return b"".join(messages.ELEMENT.pack(0, number, len(value)) + value for number, value in elements)


def pdv(number: int, control: int, fragment: bytes) -> bytes:
    return pdu.PDV_HEADER.pack(len(fragment) + 2, number, control) + fragment


def p_data(*values: bytes) -> bytes:
    return pdu.encode_pdu(pdu.P_DATA, b"".join(values))


ECHO = p_data(pdv(1, 3, command(0x30, sop_class=VERIFICATION, instance="")))
STORE = command(1, data_set=True)
ABORTED = {reason: (pdu.ABORT, bytes([0, 0, 2, reason])) for reason in range(7)}


# Sta2: the first PDU


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 6])
def test_first_pdu_that_is_no_request_is_aborted(receiver: Receiver, kind: int) -> None:
    with Peer(receiver, associate=False) as peer:
        peer.send(pdu.encode_pdu(kind, bytes(4)))
        assert peer.receive() == ABORTED[pdu.UNEXPECTED_PDU]


def test_unrecognized_first_pdu_is_aborted(receiver: Receiver) -> None:
    with Peer(receiver, associate=False) as peer:
        peer.send(b"GET / HTTP/1.1\r\n\r\n")
        assert peer.receive() == ABORTED[pdu.UNRECOGNIZED_PDU]


def test_abort_before_an_association_closes_the_connection(receiver: Receiver) -> None:
    with Peer(receiver, associate=False) as peer:
        peer.send(pdu.encode_abort(0, 0))
        assert peer.receive() == (0, b"")


def test_silent_connection_is_closed_when_artim_expires(make_receiver: Callable[..., Receiver]) -> None:
    receiver = make_receiver(artim_seconds=0.2)
    with Peer(receiver, associate=False) as peer:
        assert peer.receive() == (0, b"")
    assert [type(end) for end in receiver.wait()] == [TimeoutError]


@pytest.mark.parametrize(
    ("changes", "rejection"),
    [({"version": 2}, bytes([0, 1, 2, 2])), ({"name": "1.2.3"}, bytes([0, 1, 1, 2]))],
)
def test_request_for_another_protocol_is_rejected(
    receiver: Receiver, changes: dict[str, Any], rejection: bytes
) -> None:
    with Peer(receiver, associate=False) as peer:
        peer.send(associate_request(**changes))
        assert peer.receive() == (pdu.ASSOCIATE_RJ, rejection)
        assert peer.receive() == (0, b"")


def test_handler_rejects_with_its_reason_and_sees_the_titles(receiver: Receiver) -> None:
    receiver.rejection = 1, 1, 3
    with Peer(receiver, associate=False) as peer:
        peer.send(associate_request())
        assert peer.receive() == (pdu.ASSOCIATE_RJ, bytes([0, 1, 1, 3]))
    assert receiver.titles == ("PEER", "SECTION5")


@pytest.mark.parametrize(
    "request_",
    [
        pdu.encode_pdu(pdu.ASSOCIATE_RQ, bytes(20)),
        associate_request(contexts=DEFAULT_CONTEXTS + DEFAULT_CONTEXTS),
        associate_request(contexts=context(2, CT, IMPLICIT)),
        associate_request(contexts=b"\x20\0\0\2ab"),
        associate_request(contexts=b"\x20\0\xff\xff"),
        associate_request(information=b"\x54\0\0\4\0\x40\1\1"),
        pdu.encode_pdu(pdu.ASSOCIATE_RQ, associate_request()[6:-3]),
        pdu.PDU_HEADER.pack(pdu.ASSOCIATE_RQ, 0xFFFFFFFF),
    ],
    ids=["short", "repeated id", "even id", "short context", "long item", "role", "cut item", "4 GiB"],
)
def test_malformed_request_is_aborted(receiver: Receiver, request_: bytes) -> None:
    with Peer(receiver, associate=False) as peer:
        peer.send(request_)
        assert peer.receive() == ABORTED[pdu.INVALID_PARAMETER]


# Sta6: the association


@pytest.mark.parametrize("kind", [1, 2, 3, 6])
def test_pdu_that_does_not_belong_to_an_association_is_aborted(receiver: Receiver, kind: int) -> None:
    with Peer(receiver) as peer:
        peer.send(pdu.encode_pdu(kind, bytes(80)))
        assert peer.receive() == ABORTED[pdu.UNEXPECTED_PDU]


def test_unrecognized_pdu_is_aborted(receiver: Receiver) -> None:
    with Peer(receiver) as peer:
        peer.send(pdu.encode_pdu(8, b""))
        assert peer.receive() == ABORTED[pdu.UNRECOGNIZED_PDU]


def test_release_is_answered_and_the_connection_closed(receiver: Receiver) -> None:
    with Peer(receiver) as peer:
        peer.send(pdu.encode_pdu(pdu.RELEASE_RQ, bytes(4)))
        assert peer.receive() == (pdu.RELEASE_RP, bytes(4))
        assert peer.receive() == (0, b"")
    assert receiver.wait() == [None]


def test_pdus_behind_a_release_are_ignored(receiver: Receiver) -> None:
    with Peer(receiver) as peer:
        peer.send(pdu.encode_pdu(pdu.RELEASE_RQ, bytes(4)) + ECHO)
        assert peer.receive() == (pdu.RELEASE_RP, bytes(4))
        assert peer.receive() == (0, b"")


# Sta13: after a rejection, too, what still arrives is ignored, and the ARTIM timer ends the wait.


@pytest.mark.parametrize("late", [b"", ECHO, pdu.encode_abort(0, 0), b"\xff" * 10])
def test_rejected_peer_that_stays_is_disconnected(make_receiver: Callable[..., Receiver], late: bytes) -> None:
    receiver = make_receiver(artim_seconds=0.2)
    with Peer(receiver, associate=False) as peer:
        peer.send(associate_request(version=2))
        assert peer.receive() == (pdu.ASSOCIATE_RJ, bytes([0, 1, 2, 2]))
        peer.send(late)
        assert peer.receive() == (0, b"")
        assert receiver.wait() == [None]


@pytest.mark.parametrize("end", [pdu.encode_abort(0, 0), b"", b"\4\0\0\0"])
def test_association_that_ends_within_a_data_set_aborts_its_sink(receiver: Receiver, end: bytes) -> None:
    with Peer(receiver) as peer:
        peer.send(p_data(pdv(3, 3, STORE), pdv(3, 0, b"data")) + end)
    receiver.wait()
    assert [sink.state for sink in receiver.sinks] == ["aborted"]


def test_idle_association_is_aborted(make_receiver: Callable[..., Receiver]) -> None:
    with Peer(make_receiver(idle_seconds=0.2, artim_seconds=5)) as peer:
        assert peer.receive() == ABORTED[pdu.NOT_SPECIFIED]


def test_pdu_that_trickles_is_aborted(make_receiver: Callable[..., Receiver]) -> None:
    with Peer(make_receiver(pdu_seconds=0.2)) as peer, contextlib.suppress(OSError):
        peer.send(pdu.PDU_HEADER.pack(pdu.P_DATA, 100_000))
        for _ in range(500):
            peer.send(b"\0")
            peer.socket.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                assert peer.receive() == ABORTED[pdu.NOT_SPECIFIED]
                return
    pytest.fail("the receiver waited for ever")


def test_pdu_over_the_limit_is_aborted_at_its_header(make_receiver: Callable[..., Receiver]) -> None:
    with Peer(make_receiver(longest_pdu=1000)) as peer:
        peer.send(pdu.PDU_HEADER.pack(pdu.P_DATA, 1001))
        assert peer.receive() == ABORTED[pdu.INVALID_PARAMETER]


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b"\0\0\0"],
        [b"\0\0\0\1\1\3"],
        [b"\0\0\1\0\1\3abc"],
        [pdv(9, 3, STORE)],
        [pdv(3, 2, b"no command before")],
        [pdv(3, 3, STORE), pdv(3, 3, STORE)],
        [pdv(3, 1, STORE[:10]), pdv(1, 3, STORE[10:])],
        [pdv(3, 3, STORE), pdv(5, 0, b"other context")],
        [pdv(3, 1, b"\0" * 20_000)],
        [pdv(3, 3, STORE[:-1])],
        [pdv(3, 3, b"\1" + STORE[1:])],
        [pdv(3, 3, b"")],
        [pdv(3, 3, messages.ELEMENT.pack(0, messages.COMMAND_FIELD, 4) + bytes(4))],
        [pdv(3, 3, messages.ELEMENT.pack(0, messages.COMMAND_FIELD, 2) + b"\1\0")],
    ],
)
def test_malformed_p_data_is_aborted(receiver: Receiver, values: list[bytes]) -> None:
    with Peer(receiver) as peer:
        peer.send(p_data(*values))
        assert peer.receive() == ABORTED[pdu.INVALID_PARAMETER]


def test_response_without_a_request_is_aborted(receiver: Receiver) -> None:
    with Peer(receiver) as peer:
        peer.send(p_data(pdv(1, 3, command(0x8030))))
        assert peer.receive() == ABORTED[pdu.NOT_SPECIFIED]


# Negotiation


def negotiated(receiver: Receiver, **request: Any) -> tuple[dict[int, tuple[int, str]], list[tuple[int, bytes]]]:
    """Result and transfer syntax of each context, and the user information."""
    with Peer(receiver, associate=False) as peer:
        peer.send(associate_request(**request))
        kind, content = peer.receive()
    assert kind == pdu.ASSOCIATE_AC
    results, information = {}, []
    for item, value in pdu.iter_items(memoryview(content)[pdu.FIXED_FIELDS :]):
        if item == pdu.CONTEXT_AC:
            results[value[0]] = value[2], bytes(value[8:]).decode()
        elif item == pdu.USER_INFORMATION:
            information = [(kind, bytes(one)) for kind, one in pdu.iter_items(value)]
    return results, information


def test_first_supported_transfer_syntax_is_accepted(receiver: Receiver) -> None:
    results, _ = negotiated(receiver, contexts=context(1, CT, "1.2.3", EXPLICIT, IMPLICIT))
    assert results == {1: (0, EXPLICIT)}


def test_contexts_that_are_not_supported_get_their_results(receiver: Receiver) -> None:
    contexts = context(1, ModalityWorklistInformationFind, IMPLICIT) + context(3, CT, "1.2.3") + context(5, CT)
    results, _ = negotiated(receiver, contexts=contexts)
    assert {number: result for number, (result, _) in results.items()} == {1: 3, 3: 4, 5: 4}


def test_roles_are_scu_only(receiver: Receiver) -> None:
    def role(uid: str, scu: int, scp: int) -> bytes:
        return pdu.encode_item(pdu.ROLE_SELECTION, struct.pack(">H", len(uid)) + uid.encode() + bytes([scu, scp]))

    mr = "1.2.840.10008.5.1.4.1.1.4"
    contexts = context(1, CT, IMPLICIT) + context(3, mr, IMPLICIT)
    results, information = negotiated(receiver, contexts=contexts, information=role(CT, 1, 1) + role(mr, 0, 1))
    assert {number: result for number, (result, _) in results.items()} == {1: 0, 3: 1}
    assert [value for kind, value in information if kind == pdu.ROLE_SELECTION] == [role(CT, 1, 0)[4:]]


def test_asynchronous_operations_are_one(receiver: Receiver) -> None:
    _, information = negotiated(receiver, information=pdu.encode_item(pdu.ASYNCHRONOUS_WINDOW, b"\0\0\0\0"))
    assert (pdu.ASYNCHRONOUS_WINDOW, b"\0\1\0\1") in information


def test_user_identity_and_extended_negotiation_are_ignored(receiver: Receiver) -> None:
    items = pdu.encode_item(0x58, b"\1\1\0\4user\0\0") + pdu.encode_item(0x56, b"\0\0") + pdu.encode_item(0x57, b"\0")
    _, information = negotiated(receiver, information=items)
    assert [kind for kind, _ in information] == [0x51, 0x52, 0x55]


@pytest.mark.parametrize("uid", ["1.2.840.113619.4.30", "1.2.840.10008.5.1.4.1.1.5", "1.2.840.10008.5.1.4.1.1.9999"])
def test_private_retired_and_future_storage_classes_are_accepted(uid: str) -> None:
    assert is_storage_class(uid)


def test_storage_classes_of_pynetdicom_are_accepted() -> None:
    assert [uid for uid in _STORAGE_CLASSES.values() if not is_storage_class(uid)] == []


@pytest.mark.parametrize(
    "uid",
    [
        *_QR_CLASSES.values(),
        ModalityWorklistInformationFind,
        "1.2.840.10008.3.1.2.3.3",  # modality performed procedure step
        "1.2.840.10008.1.3.10",  # DICOMDIR
        "1.2.840.10008.5.1.4.38.1",  # hanging protocols
        "1.2.840.10008.5.1.4.1.1.201.2",  # inventory query
        IMPLICIT,
        "",
        "CT",
    ],
)
def test_other_services_are_no_storage_classes(uid: str) -> None:
    assert not is_storage_class(uid)


def test_transfer_syntaxes_are_those_of_pynetdicom() -> None:
    assert set(ALL_TRANSFER_SYNTAXES) == TRANSFER_SYNTAXES


# Messages


def test_echo_is_answered(receiver: Receiver) -> None:
    with Peer(receiver) as peer:
        peer.send(ECHO)
        kind, content = peer.receive()
    assert (kind, content[4:6]) == (pdu.P_DATA, b"\1\3")
    assert element(content[6:], messages.COMMAND_FIELD) == b"\x30\x80"
    assert element(content[6:], messages.RESPONDED_MESSAGE_ID) == b"\7\0"
    assert element(content[6:], messages.STATUS) == b"\0\0"


@pytest.mark.parametrize("field", [0x10, 0x20, 0x21, 0x100, 0x110, 0x120, 0x140, 0x150, 0x777])
def test_unknown_operation_gets_its_status_and_the_association_goes_on(receiver: Receiver, field: int) -> None:
    with Peer(receiver) as peer:
        peer.send(p_data(pdv(3, 3, command(field, data_set=True)), pdv(3, 2, b"ignored")) + ECHO)
        assert peer.receive_status() == 0x0211
        assert peer.receive_status() == 0


def test_cancel_is_not_answered(receiver: Receiver) -> None:
    with Peer(receiver) as peer:
        peer.send(p_data(pdv(1, 3, command(0x0FFF))) + ECHO)
        assert element(peer.receive()[1][6:], messages.COMMAND_FIELD) == b"\x30\x80"


@pytest.mark.parametrize(
    ("number", "message", "status"),
    [
        (1, command(1, data_set=True), 0x0122),
        (3, command(1, data_set=True, instance=""), 0xC000),
        (3, command(1, data_set=False), 0xC000),
        (3, command(0x30, data_set=False), 0x0122),
        (5, command(0x130, data_set=True, action=2), 0x0123),
        (5, command(0x130, action=1), 0x0212),
        (3, command(0x130, data_set=True, action=1), 0x0211),
    ],
)
def test_message_that_does_not_fit_its_context_is_refused(
    receiver: Receiver, number: int, message: bytes, status: int
) -> None:
    with Peer(receiver) as peer:
        has_data_set = element(message, messages.DATA_SET_TYPE) != b"\1\1"
        peer.send(p_data(pdv(number, 3, message), *([pdv(number, 2, b"data")] if has_data_set else [])))
        assert peer.receive_status() == status
    assert receiver.sinks == []


def test_action_on_storage_commitment_reaches_its_handler(receiver: Receiver) -> None:
    with Peer(receiver) as peer:
        action = command(0x130, data_set=True, sop_class=STORAGE_COMMITMENT, action=1)
        peer.send(p_data(pdv(5, 3, action), pdv(5, 0, b"da"), pdv(5, 2, b"ta")))
        _, content = peer.receive()
    assert element(content[6:], messages.COMMAND_FIELD) == b"\x30\x81"
    assert element(content[6:], messages.ACTION_TYPE) == b"\1\0"
    assert receiver.requests == [ActionRequest("PEER", IMPLICIT, b"data")]


def test_action_over_the_limit_is_refused(make_receiver: Callable[..., Receiver]) -> None:
    receiver = make_receiver(max_action=10)
    with Peer(receiver) as peer:
        peer.send(p_data(pdv(5, 3, command(0x130, data_set=True, action=1)), pdv(5, 2, b"12345678901")))
        assert peer.receive_status() == 0x0213


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("together", [False, True], ids=["a PDU each", "one PDU"])
def test_fragments_of_any_size_make_one_file(receiver: Receiver, size: int, together: bool) -> None:
    data = bytes(range(256)) * 4
    values = [
        pdv(3, kind | (2 if at + size >= len(content) else 0), content[at : at + size])
        for kind, content in ((1, STORE), (0, data))
        for at in range(0, len(content), size)
    ]
    with Peer(receiver) as peer:
        peer.send(p_data(*values) if together else b"".join(p_data(value) for value in values))
        assert peer.receive_status() == 0
    assert [bytes(sink.content) for sink in receiver.sinks] == [
        messages.encode_file_start(CT, "1.2.3", EXPLICIT) + data
    ]


def test_empty_fragments_are_legal(receiver: Receiver) -> None:
    with Peer(receiver) as peer:
        peer.send(p_data(pdv(3, 1, b""), pdv(3, 3, STORE), pdv(3, 0, b""), pdv(3, 0, b"data"), pdv(3, 2, b"")))
        assert peer.receive_status() == 0


def test_status_of_the_sink_is_the_answer(receiver: Receiver) -> None:
    receiver.status = 0xA700
    with Peer(receiver) as peer:
        peer.send(p_data(pdv(3, 3, STORE), pdv(3, 2, b"data")))
        assert peer.receive_status() == 0xA700


def test_answers_respect_the_peers_maximum_length(receiver: Receiver) -> None:
    with Peer(receiver, information=pdu.encode_item(pdu.MAXIMUM_LENGTH, b"\0\0\0\x20")) as peer:
        peer.send(p_data(pdv(3, 3, STORE), pdv(3, 2, b"data")))
        answer = b""
        while True:
            _, content = peer.receive()
            assert len(content) <= 0x20
            answer += content[6:]
            if content[5] & 2:
                break
    assert element(answer, messages.STATUS) == b"\0\0"


def test_messages_follow_one_another_in_one_segment(receiver: Receiver) -> None:
    store = p_data(pdv(3, 3, STORE)) + p_data(pdv(3, 2, b"data"))
    with Peer(receiver) as peer:
        peer.send(store + ECHO + store + pdu.encode_pdu(pdu.RELEASE_RQ, bytes(4)))
        assert [peer.receive_status() for _ in range(3)] == [0, 0, 0]
        assert peer.receive()[0] == pdu.RELEASE_RP


# The file meta information


@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34", "1." + "2" * 62])
@pytest.mark.parametrize("syntax", [IMPLICIT, "1.2.840.10008.1.2.4.50"])
def test_file_start_is_that_of_pynetdicom(instance: str, syntax: str) -> None:
    meta = create_file_meta(sop_class_uid=UID(CT), sop_instance_uid=UID(instance), transfer_syntax=UID(syntax))
    assert messages.encode_file_start(CT, instance, syntax) == bytes(128) + b"DICM" + encode_file_meta(meta)


# Other programs as senders


def run_program(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of DCMTK (Debian package dcmtk) without Nagle's algorithm."""
    program = needs(command[0], "dcmtk")
    environment = os.environ | {"TCP_NODELAY": "1"}
    return subprocess.run(
        [program, *command[1:]], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def assert_same_data_set(content: bytes, sent: Path) -> None:
    received, expected = pydicom.dcmread(io.BytesIO(content)), pydicom.dcmread(sent)
    assert received.file_meta.MediaStorageSOPInstanceUID == expected.SOPInstanceUID
    assert received.file_meta.TransferSyntaxUID == expected.file_meta.TransferSyntaxUID
    assert received.PixelData == expected.PixelData


SYNTAX_FILES = {  # an option of storescu that proposes the transfer syntax of a file
    "-xi": "MR_small_implicit.dcm",
    "-xe": "CT_small.dcm",
    "-xb": "MR_small_bigendian.dcm",
    "-xs": "SC_rgb_jpeg_gdcm.dcm",
    "-xy": "SC_rgb_small_odd_jpeg.dcm",
    "-xx": "JPGExtended.dcm",
    "-xv": "MR_small_jp2klossless.dcm",
    "-xw": "JPEG2000.dcm",
    "-xt": "MR_small_jpeg_ls_lossless.dcm",
    "-xr": "MR_small_RLE.dcm",
    "-xd": "image_dfl.dcm",
}


@pytest.mark.parametrize("option", SYNTAX_FILES)
def test_storescu_sends_in_every_transfer_syntax(receiver: Receiver, option: str) -> None:
    path = Path(str(get_testdata_file(SYNTAX_FILES[option])))
    sent = run_program("storescu", "-v", option, "localhost", str(receiver.port), str(path))
    assert sent.returncode == 0, sent.stderr
    assert_same_data_set(bytes(receiver.sinks[0].content), path)


@pytest.mark.parametrize(
    "options", [("--max-send-pdu", "4096"), ("--max-send-pdu", "131072"), ("--repeat", "20"), ("-pdu", "4096")]
)
def test_storescu_with_options(receiver: Receiver, options: tuple[str, str]) -> None:
    sent = run_program("storescu", *options, "localhost", str(receiver.port), str(CT_IMAGE))
    assert sent.returncode == 0, sent.stderr
    assert len(receiver.sinks) == (20 if options[0] == "--repeat" else 1)
    for sink in receiver.sinks:
        assert_same_data_set(bytes(sink.content), CT_IMAGE)


def test_storescu_that_proposes_128_contexts(receiver: Receiver) -> None:
    sent = run_program("storescu", "-v", "localhost", str(receiver.port), str(CT_IMAGE))
    assert sent.returncode == 0
    assert "Received Store Response (Success)" in sent.stderr


def test_dcmsend_sends_several_transfer_syntaxes_at_once(receiver: Receiver) -> None:
    paths = [str(get_testdata_file(name)) for name in SYNTAX_FILES.values()]
    sent = run_program("dcmsend", "localhost", str(receiver.port), *paths)
    assert sent.returncode == 0, sent.stderr
    assert [sink.state for sink in receiver.sinks] == ["finished"] * len(paths)


@pytest.mark.parametrize("size", ["4096", "131072"])
def test_dcmsend_sends_with_a_maximum_length(receiver: Receiver, size: str) -> None:
    sent = run_program("dcmsend", "--max-send-pdu", size, "localhost", str(receiver.port), str(CT_IMAGE))
    assert sent.returncode == 0, sent.stderr
    assert_same_data_set(bytes(receiver.sinks[0].content), CT_IMAGE)


def test_storescu_of_pynetdicom(receiver: Receiver) -> None:
    command = [sys.executable, "-m", "pynetdicom", "storescu", "-cx", "localhost", str(receiver.port), str(CT_IMAGE)]
    sent = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert sent.returncode == 0, sent.stderr
    assert_same_data_set(bytes(receiver.sinks[0].content), CT_IMAGE)


@pytest.mark.parametrize("options", [(), ("--propose-pc", "128"), ("--propose-ts", "38"), ("--abort",)])
def test_echoscu(receiver: Receiver, options: tuple[str, ...]) -> None:
    assert run_program("echoscu", *options, "localhost", str(receiver.port)).returncode == 0


def test_storescu_stops_at_an_error_status(receiver: Receiver) -> None:
    receiver.status = 0xA700
    sent = run_program("storescu", "-v", "localhost", str(receiver.port), str(CT_IMAGE))
    assert sent.returncode != 0
    assert "Refused: OutOfResources" in sent.stderr


@pytest.mark.parametrize("size", [0, 128, 1023, 16382])
def test_pynetdicom_sends_with_a_maximum_length(make_receiver: Callable[..., Receiver], size: int) -> None:
    receiver = make_receiver(max_pdu=size)
    entity = AE()
    entity.requested_contexts = AllStoragePresentationContexts[:127]
    entity.add_requested_context(VERIFICATION)
    association = entity.associate("127.0.0.1", receiver.port, ext_neg=[build_role(CT, scu_role=True, scp_role=True)])
    assert association.is_established
    assert association.send_c_echo().Status == 0
    dataset = pydicom.dcmread(CT_IMAGE)
    assert association.send_c_store(dataset).Status == 0
    association.release()
    assert association.is_released
    assert pydicom.dcmread(io.BytesIO(receiver.sinks[0].content)).PixelData == dataset.PixelData
    assert receiver.wait() == [None]


def test_file_is_the_one_that_pynetdicom_would_write(receiver: Receiver, tmp_path: Path) -> None:
    """STORE_RECV_CHUNKED_DATASET wrote the archives that exist: a resend must give the same bytes."""
    reference = AE()
    reference.supported_contexts = AllStoragePresentationContexts
    files: list[bytes] = []

    def keep(event: evt.Event) -> int:
        files.append(event.dataset_path.read_bytes())
        return 0

    chunked = pynetdicom._config.STORE_RECV_CHUNKED_DATASET
    pynetdicom._config.STORE_RECV_CHUNKED_DATASET = True
    server = reference.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    try:
        for port in (server.socket.getsockname()[1], receiver.port):
            assert run_program("storescu", "localhost", str(port), str(CT_IMAGE)).returncode == 0
    finally:
        server.shutdown()
        pynetdicom._config.STORE_RECV_CHUNKED_DATASET = chunked
    assert [bytes(receiver.sinks[0].content)] == files
