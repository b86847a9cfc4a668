"""C-ECHO and C-STORE (PS3.4, A and B; PS3.7): several processes on one port, each data set straight to disk."""

import errno
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import threading
import time
import weakref
from typing import Any

from django.db import InterfaceError, OperationalError
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
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from ingest.accept import accept
from ingest.spool import Spooled, StorageFullError, full_disk_said
from ingest.validation import RefusedError

log = logging.getLogger("section5.receiver")

TITLE = "SECTION5"
PDU = 1 << 17  # bytes; larger ones bring nothing more
LONGEST_PDU = 1 << 20  # bytes; of a request for an association, too, to which the maximum does not apply
SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND, PROCESSING_FAILURE = 0x0000, 0xA700, 0xC000, 0x0110
IDLE = 60.0  # seconds that a silent association may last


class Server(ThreadedAssociationServer):
    """Answers without waiting for more to send: Nagle's algorithm costs a factor of ten and more here."""

    def get_request(self) -> Any:
        """A connection."""
        client, address = super().get_request()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, address


class Connection(transport.AssociationSocket):
    """Reads what there is at once, where pynetdicom's own reads 4 kB at a time, which halves the rate."""

    def recv(self, nr_bytes: int) -> bytearray:
        """As many bytes, or fewer where the connection ends.

        Raises:
            OSError: the PDU is longer than any that was agreed on; the connection is closed.

        """
        if nr_bytes > LONGEST_PDU:
            raise OSError(errno.EMSGSIZE, "a PDU is longer than agreed")
        buffer = bytearray(nr_bytes)
        view, place = memoryview(buffer), 0
        while place < nr_bytes and (count := self.socket.recv_into(view[place:])):
            place += count
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
        self._error: OSError | None = None
        try:
            self._spooled = Spooled()
            self.name = str(self._spooled.path)
            weakref.finalize(self, self._spooled.discard)  # where the association ends before its handler is called
        except OSError as error:
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
            OSError: what went wrong on the way.

        """
        if self._error is not None:
            raise self._error
        return self._spooled


def store(event: evt.Event) -> int:
    """A C-STORE: success only when the instance is safe here."""
    source = f"dicom:{event.assoc.requestor.ae_title.strip()}"
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
    log.debug("from %s: instance %d, %s", source, accepted.instance_id, accepted.outcome)
    return SUCCESS


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
    entity.maximum_associations = 100
    entity.network_timeout = IDLE
    entity.dimse_timeout = IDLE
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
    server: Server = entity.make_server((host, port), evt_handlers=[(evt.EVT_C_STORE, store)], server_class=Server)
    return server


def run(host: str, port: int, processes: int) -> int:
    """Receive until a signal: in one process, or in several that share the port, each made anew when it ends."""
    server = make_server(host, port)
    log.info("receiving on %s:%d as %s", host, server.socket.getsockname()[1], TITLE)
    if processes == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        server.serve_forever()
        return 0
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
