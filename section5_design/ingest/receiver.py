"""C-ECHO and C-STORE (PS3.4, A and B; PS3.7): several processes on one port, each data set straight to disk."""

import errno
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
import time
import weakref
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from pydicom.config import IGNORE
from pydicom.config import settings as pydicom_settings
from pynetdicom import (
    AE,
    ALL_TRANSFER_SYNTAXES,
    AllStoragePresentationContexts,
    _config,
    dimse_messages,
    evt,
    transport,
)
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification
from pynetdicom.transport import ThreadedAssociationServer

from archive.spool import Spooled, StorageFullError, full_disk_said
from audit.log import note
from config import metrics
from config.logs import new_trace
from health import pulse
from ingest.accept import accept
from ingest.commitment import asked_for
from ingest.peers import may_send, server_context
from ingest.validation import RefusedError

log = logging.getLogger("section5.receiver")
images = logging.getLogger("section5.images")  # a line for each, where programs read them

TITLE = "SECTION5"
PDU = 1 << 17  # bytes; larger ones bring nothing more
LONGEST_PDU = 1 << 20  # bytes; of a request for an association, too, to which the maximum does not apply
SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND, PROCESSING_FAILURE = 0x0000, 0xA700, 0xC000, 0x0110
IDLE = 60.0  # seconds that a silent association may last, and a PDU may take
HANDSHAKE = 10.0  # seconds that TLS may take
MOST_ASSOCIATIONS = 50  # of a process; the next is told to come again
MOST_CONNECTIONS = 80  # of a process, with those that have not asked for an association yet


class Server(ThreadedAssociationServer):
    """Answers without waiting for more to send: Nagle's algorithm costs a factor of ten and more here.

    Nobody holds up others: TLS is negotiated in the connection's own thread, connections are counted before any thread
    is made, and half of them at most may come from one address.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._negotiating: dict[Any, str] = {}

    def get_request(self) -> Any:
        """A connection, as it is."""
        client, address = self.socket.accept()
        client.settimeout(IDLE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room; where there is none, the connection is closed without a word."""
        hosts = [one.requestor.address for one in self.active_associations] + list(self._negotiating.values())
        if len(hosts) >= MOST_CONNECTIONS or hosts.count(client_address[0]) >= MOST_CONNECTIONS // 2:
            log.warning("from %s: too many connections; one more is closed", client_address[0])
            return False
        self._negotiating[request] = client_address[0]
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Negotiate TLS where it is wanted, then DICOM."""
        plain = request
        try:
            if self.ssl_context:
                request.settimeout(HANDSHAKE)
                try:
                    request = self.ssl_context.wrap_socket(plain, server_side=True)
                except OSError as error:
                    log.warning("from %s: no TLS that is taken here (%s)", client_address[0], error.__class__.__name__)
                    metrics.associations.labels("no TLS").inc()
                    plain.close()
                    return
                request.settimeout(IDLE)
            super().finish_request(request, client_address)
        finally:
            self._negotiating.pop(plain, None)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """What goes wrong in a connection's thread is said in a line."""
        log.warning("from %s: the connection broke (%s)", client_address[0], sys.exc_info()[1].__class__.__name__)


class Connection(transport.AssociationSocket):
    """Reads what there is at once, where pynetdicom's own reads 4 kB at a time, which halves the rate."""

    def recv(self, nr_bytes: int) -> bytearray:
        """As many bytes, or fewer where the connection ends.

        Raises:
            OSError: the PDU is longer than any that was agreed on, or too slow; the connection is closed.

        """
        if nr_bytes > LONGEST_PDU:
            raise OSError(errno.EMSGSIZE, "a PDU is longer than agreed")
        buffer = bytearray(nr_bytes)
        view, place, until = memoryview(buffer), 0, time.monotonic() + IDLE
        while place < nr_bytes and (count := self.socket.recv_into(view[place:])):
            place += count
            if time.monotonic() > until:  # drops that come one by one
                raise TimeoutError(errno.ETIMEDOUT, "a PDU takes too long")
        view.release()
        del buffer[place:]
        return buffer


class DatasetFile:
    """What pynetdicom writes a data set to while it arrives: a file of the spool.

    An error is kept for the handler, which answers it; raised here, it would end the association without a word.
    """

    def __init__(self, **_: object) -> None:
        self.file = self  # which pynetdicom flushes
        self.name = ""
        self._error: Exception | None = None
        try:
            self._spooled = Spooled()
            self.name = str(self._spooled.path)
            weakref.finalize(self, self._spooled.discard)  # where the association ends before its handler is called
        except (OSError, OperationalError, InterfaceError) as error:  # the key that seals is in the database
            self._error = error

    def write(self, part: bytes) -> int:
        """The next bytes."""
        if self._error is None:
            try:
                self._spooled.write(part)
            except OSError as error:
                self._error = error
        return len(part)

    def flush(self) -> None:
        """Nobody reads it before it is whole."""

    def close(self) -> None:
        """The handler is done."""
        if self.name:
            self._spooled.discard()

    def whole(self) -> Spooled:
        """The file, when all is written.

        Raises:
            OSError, OperationalError, InterfaceError: what went wrong on the way.

        """
        if self._error is not None:
            raise self._error
        return self._spooled


def store(event: evt.Event) -> int:
    """A C-STORE: success only when the instance is safe here."""
    source = f"dicom:{event.assoc.requestor.ae_title.strip()}"
    new_trace()
    try:
        with full_disk_said():
            accepted = accept(event.request._dataset_file.whole(), source)  # the event has its path only
    except RefusedError as error:
        log.info("from %s: %s", source, error)
        return CANNOT_UNDERSTAND
    except StorageFullError:
        log.error("the disk is full; nothing more is taken in")  # noqa: TRY400
        return OUT_OF_RESOURCES
    except OSError as error:
        log.error("the disk: %s", error.strerror)  # noqa: TRY400
        return PROCESSING_FAILURE
    except (OperationalError, InterfaceError) as error:
        log.error("the database does not answer (%s)", type(error).__name__)  # noqa: TRY400
        return PROCESSING_FAILURE
    images.info("from %s: instance %d, %s", source, accepted.instance_id, accepted.outcome)
    return SUCCESS


def requested(event: evt.Event) -> None:
    """An association is asked for: who is not known, by title and address, is refused (PS3.8, 9.3.4)."""
    requestor = event.assoc.requestor
    title = str(requestor.primitive.calling_ae_title).strip()
    try:
        known = may_send(title, str(requestor.address))
    except (OperationalError, InterfaceError) as error:
        log.error("the database does not answer (%s)", type(error).__name__)  # noqa: TRY400
        connection.close()
        refuse(event.assoc, (0x02, 0x03, 0x01))  # for now; congestion
        return
    if known:
        metrics.associations.labels("accepted").inc()
        return
    log.warning("from %s: %r is no peer that may send from there; manage.py peer add", requestor.address, title)
    metrics.associations.labels("not known").inc()
    note("refused", f"dicom:{title}", "is no peer that may send from there", address=str(requestor.address))
    refuse(event.assoc, (0x01, 0x01, 0x03))  # for good; calling AE title not recognised


def refuse(association: Any, why: tuple[int, int, int]) -> None:
    """Send an A-ASSOCIATE-RJ and end."""
    association.acse.send_reject(*why)
    association.kill()


def make_server(host: str, port: int) -> Server:
    """A server that listens, and does not serve yet."""
    _config.STORE_RECV_CHUNKED_DATASET = True
    dimse_messages.NamedTemporaryFile = DatasetFile  # its only use there: where data sets go
    transport.AssociationSocket = Connection
    # Logging of every message and checks of values that nobody reads took a third of the time.
    _config.LOG_HANDLER_LEVEL = "none"
    pydicom_settings.reading_validation_mode = pydicom_settings.writing_validation_mode = IGNORE
    _config.UNRESTRICTED_STORAGE_SERVICE = True  # private and retired storage classes too
    entity = AE(ae_title=TITLE)
    entity.maximum_pdu_size = PDU
    entity.maximum_associations = MOST_ASSOCIATIONS
    entity.network_timeout = IDLE
    entity.dimse_timeout = IDLE
    entity.add_supported_context(Verification)
    entity.add_supported_context(StorageCommitmentPushModel)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_REQUESTED, requested), (evt.EVT_N_ACTION, asked_for)]
    context = server_context()
    server: Server = entity.make_server((host, port), evt_handlers=handlers, server_class=Server, ssl_context=context)
    server.request_queue_size = 128
    server.socket.listen(128)
    return server


def run(host: str, port: int, processes: int) -> int:
    """Receive until a signal, in processes that share the port, each made anew when it ends."""
    server = make_server(host, port)
    log.info("receiving on %s:%d as %s", host, server.socket.getsockname()[1], TITLE)
    fork = multiprocessing.get_context("fork")
    children: list[Any] = []
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True
        for child in children:
            child.terminate()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    parent = os.getpid()
    while not ending:
        children[:] = [child for child in children if child.is_alive()]
        while len(children) < processes and not ending:
            child = fork.Process(target=serve, args=(server, parent), daemon=True)
            child.start()
            children.append(child)
        pulse()
        multiprocessing.connection.wait([child.sentinel for child in children], timeout=1)
    for child in children:
        child.join()
    return 0


def serve(server: Server, parent: int) -> None:
    """What one of several processes does; it ends with its parent."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    server.serve_forever()
