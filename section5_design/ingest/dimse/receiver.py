"""C-ECHO and C-STORE (PS3.4, A and B; PS3.7): several processes share a port; data sets stream to the spool."""

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
from pydicom.uid import UID
from pynetdicom import (
    AE,
    ALL_TRANSFER_SYNTAXES,
    AllStoragePresentationContexts,
    _config,
    acse,
    dimse_messages,
    evt,
    transport,
)
from pynetdicom.presentation import negotiate_unrestricted
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification
from pynetdicom.transport import ThreadedAssociationServer

from accounts.application_entities import may_send
from archive.spool import SpoolFile, StorageFullError, map_disk_full
from audit.events import record_event
from core import metrics
from core.correlation import begin_correlation
from core.health import beat
from ingest.dimse.commitment import handle_request
from ingest.dimse.tls import server_context
from ingest.header import RefusedError
from ingest.store import Sender, store_instance

log = logging.getLogger("section5.receiver")
images = logging.getLogger("section5.images")  # a line for each instance, in JSON logs

TITLE = "SECTION5"
PDU = 1 << 17  # bytes; larger PDUs are not faster
MAX_PDU_BYTES = 1 << 20  # bytes; also limits A-ASSOCIATE-RQ, to which the negotiated maximum does not apply
SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND, PROCESSING_FAILURE = 0x0000, 0xA700, 0xC000, 0x0110
IDLE = 60.0  # seconds; limits a silent association and the transfer of a PDU
HANDSHAKE = 10.0  # seconds; limits the TLS handshake
MAX_ASSOCIATIONS = 50  # per process; further ones are rejected as transient
MAX_CONNECTIONS = 80  # per process, including those without an association yet


class Server(ThreadedAssociationServer):
    """Accepts connections with TCP_NODELAY: Nagle's algorithm costs a factor of ten here.

    Slow clients cannot block others: TLS is negotiated in the connection's own thread, connections are counted before
    a thread starts, and at most half of them may come from one address.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._negotiating: dict[Any, str] = {}

    def get_request(self) -> Any:
        """Accept a connection."""
        client, address = self.socket.accept()
        client.settimeout(IDLE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether another connection is allowed; otherwise it is closed."""
        hosts = [one.requestor.address for one in self.active_associations] + list(self._negotiating.values())
        if len(hosts) >= MAX_CONNECTIONS or hosts.count(client_address[0]) >= MAX_CONNECTIONS // 2:
            log.warning("from %s: too many connections; closing one", client_address[0])
            return False
        self._negotiating[request] = client_address[0]
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Negotiate TLS if it is configured, then DICOM."""
        plain = request
        try:
            if self.ssl_context:
                request.settimeout(HANDSHAKE)
                try:
                    request = self.ssl_context.wrap_socket(plain, server_side=True)
                except OSError as error:
                    log.warning("from %s: TLS handshake failed (%s)", client_address[0], error.__class__.__name__)
                    metrics.associations.labels("no TLS").inc()
                    plain.close()
                    return
                request.settimeout(IDLE)
            super().finish_request(request, client_address)
        finally:
            self._negotiating.pop(plain, None)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log an error of a connection's thread in one line."""
        log.warning("from %s: connection error (%s)", client_address[0], sys.exc_info()[1].__class__.__name__)


class Connection(transport.AssociationSocket):
    """Reads everything available at once; pynetdicom's own reads 4 kB at a time, which halves the rate."""

    def recv(self, nr_bytes: int) -> bytearray:
        """Receive this many bytes, or fewer if the connection ends.

        Raises:
            OSError: the PDU is longer than negotiated, or too slow; the connection is closed.

        """
        if nr_bytes > MAX_PDU_BYTES:
            raise OSError(errno.EMSGSIZE, "a PDU is longer than negotiated")
        buffer = bytearray(nr_bytes)
        view, place, until = memoryview(buffer), 0, time.monotonic() + IDLE
        while place < nr_bytes and (count := self.socket.recv_into(view[place:])):
            place += count
            if time.monotonic() > until:  # a slow trickle
                raise TimeoutError(errno.ETIMEDOUT, "a PDU takes too long")
        view.release()
        del buffer[place:]
        return buffer


class DatasetFile:
    """The file that pynetdicom writes an incoming data set to: a spool file.

    An error is kept for the handler, which answers it; raised here, it would abort the association.
    """

    def __init__(self, **_: object) -> None:
        self.file = self  # which pynetdicom flushes
        self.name = ""
        self._error: Exception | None = None
        try:
            self._spool_file = SpoolFile()
            self.name = str(self._spool_file.path)
            weakref.finalize(self, self._spool_file.discard)  # if the association ends before the handler is called
        except (OSError, OperationalError, InterfaceError) as error:  # the encryption key is in the database
            self._error = error

    def write(self, part: bytes) -> int:
        """Append bytes."""
        if self._error is None:
            try:
                self._spool_file.write(part)
            except OSError as error:
                self._error = error
        return len(part)

    def flush(self) -> None:
        """Do nothing: nobody reads it before it is complete."""

    def close(self) -> None:
        """Discard the file; the handler is done."""
        if self.name:
            self._spool_file.discard()

    def complete(self) -> SpoolFile:
        """Return the complete file.

        Raises:
            OSError, OperationalError, InterfaceError: writing it failed.

        """
        if self._error is not None:
            raise self._error
        return self._spool_file


def handle_store(event: evt.Event) -> int:
    """Handle a C-STORE; success only if the instance is durable."""
    sender = Sender(f"dicom:{event.assoc.requestor.ae_title.strip()}")
    begin_correlation()
    try:
        with map_disk_full():
            stored = store_instance(event.request._dataset_file.complete(), sender)  # the event has its path only
    except RefusedError as error:
        log.info("from %s: %s", sender.source, error)
        return CANNOT_UNDERSTAND
    except StorageFullError:
        log.error("the disk is full; no more instances are stored")  # noqa: TRY400
        return OUT_OF_RESOURCES
    except OSError as error:
        log.error("the disk: %s", error.strerror)  # noqa: TRY400
        return PROCESSING_FAILURE
    except (OperationalError, InterfaceError) as error:
        log.error("the database does not respond (%s)", type(error).__name__)  # noqa: TRY400
        return PROCESSING_FAILURE
    images.info("from %s: instance %d, %s", sender.source, stored.instance_id, stored.outcome)
    return SUCCESS


def handle_requested(event: evt.Event) -> None:
    """Handle an association request; unknown AE titles or addresses are rejected (PS3.8, 9.3.4)."""
    requestor = event.assoc.requestor
    title = str(requestor.primitive.calling_ae_title).strip()
    try:
        known = may_send(title, str(requestor.address))
    except (OperationalError, InterfaceError) as error:
        log.error("the database does not respond (%s)", type(error).__name__)  # noqa: TRY400
        connection.close()
        reject(event.assoc, (0x02, 0x03, 0x01))  # rejected-transient, temporary congestion
        return
    if known:
        metrics.associations.labels("accepted").inc()
        return
    log.warning("from %s: unknown AE title or address: %r; manage.py ae add", requestor.address, title)
    metrics.associations.labels("unknown").inc()
    detail = "unknown AE title or address"
    record_event("rejected", f"dicom:{title}", detail, address=str(requestor.address))
    reject(event.assoc, (0x01, 0x01, 0x03))  # rejected-permanent, calling AE title not recognized


def reject(association: Any, why: tuple[int, int, int]) -> None:
    """Send an A-ASSOCIATE-RJ and end."""
    association.acse.send_reject(*why)
    association.kill()


def negotiate(requested: list[Any], supported: list[Any], roles: Any = None) -> tuple[list[Any], list[Any]]:
    """Negotiate presentation contexts (PS3.8, 9.3.3): every storage class, private ones too, and what is supported.

    pynetdicom takes every class that it does not know for storage, the modality worklist for one.
    """
    known = {context.abstract_syntax for context in supported}
    other = [context for context in requested if is_other_service(context.abstract_syntax, known)]
    result, reply_roles = negotiate_unrestricted([one for one in requested if one not in other], supported, roles)
    for context in other:
        context.transfer_syntax = context.transfer_syntax[:1]
        context.result = 0x03  # abstract syntax not supported
    return sorted([*result, *other], key=lambda context: int(context.context_id)), reply_roles


def is_other_service(uid: UID, supported: set[UID]) -> bool:
    """Return whether a UID is a SOP class of the standard that is neither storage nor supported."""
    return uid.type == "SOP Class" and "Storage" not in uid.name and uid not in supported


def make_server(host: str, port: int) -> Server:
    """Create a server that listens but does not serve yet."""
    _config.STORE_RECV_CHUNKED_DATASET = True
    dimse_messages.NamedTemporaryFile = DatasetFile  # its only use there is for data sets
    transport.AssociationSocket = Connection
    # Logging every message and validating unused values took a third of the time.
    _config.LOG_HANDLER_LEVEL = "none"
    pydicom_settings.reading_validation_mode = pydicom_settings.writing_validation_mode = IGNORE
    _config.UNRESTRICTED_STORAGE_SERVICE = True  # private and retired storage classes too
    acse.negotiate_unrestricted = negotiate
    entity = AE(ae_title=TITLE)
    entity.maximum_pdu_size = PDU
    entity.maximum_associations = MAX_ASSOCIATIONS
    entity.network_timeout = IDLE
    entity.dimse_timeout = IDLE
    entity.add_supported_context(Verification)
    entity.add_supported_context(StorageCommitmentPushModel)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
    handlers = [
        (evt.EVT_C_STORE, handle_store),
        (evt.EVT_REQUESTED, handle_requested),
        (evt.EVT_N_ACTION, handle_request),
    ]
    context = server_context()
    server: Server = entity.make_server((host, port), evt_handlers=handlers, server_class=Server, ssl_context=context)
    server.request_queue_size = 128
    server.socket.listen(128)
    return server


def run(host: str, port: int, processes: int) -> int:
    """Receive until a signal, in processes that share the port; one that ends is replaced."""
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
        beat()
        multiprocessing.connection.wait([child.sentinel for child in children], timeout=1)
    for child in children:
        child.join()
    return 0


def serve(server: Server, parent: int) -> None:
    """Serve in one of the processes; it ends with its parent."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    server.serve_forever()
