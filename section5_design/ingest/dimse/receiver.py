"""The DICOM receiver: several processes share a port, and a data set streams to the spool while it arrives."""

import gc
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import threading
import time
from collections import Counter
from queue import SimpleQueue
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from pydicom.config import IGNORE
from pydicom.config import settings as pydicom_settings

from accounts.application_entities import may_send
from analysis.registry import load_analyses
from archive.models import Release
from archive.spool import StorageFullError, map_disk_full
from audit.events import record_event
from core import metrics
from core.correlation import begin_correlation
from core.health import beat
from core.outage import report_outage, report_recovery
from ingest.dimse.association import (
    CALLING_TITLE_NOT_RECOGNIZED,
    LOCAL_LIMIT_EXCEEDED,
    TEMPORARY_CONGESTION,
    ActionRequest,
    Rejection,
    Settings,
    serve_association,
)
from ingest.dimse.commitment import handle_request
from ingest.dimse.pdu import ProtocolError
from ingest.dimse.queries import QueryChannel, QueryHandler, QueryRequest
from ingest.dimse.tls import server_context
from ingest.header import RefusedError
from ingest.incoming import IncomingFile
from ingest.store import Sender, store_instance

log = logging.getLogger("section5.receiver")
images = logging.getLogger("section5.images")  # a line for each instance, in JSON logs

TITLE = "SECTION5"
SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND, PROCESSING_FAILURE = 0x0000, 0xA700, 0xC000, 0x0110
HANDSHAKE = 10.0  # seconds; limits the TLS handshake
MAX_ASSOCIATIONS = 50  # per process; further ones are rejected as transient
MAX_CONNECTIONS = 80  # per process, including those without an association yet
MAX_IDLE_THREADS = 4  # per process, with their database sessions; a new one costs as much as ten images
BACKLOG = 128


class _Current(threading.local):
    """The association that a thread serves."""

    def __init__(self) -> None:
        self.instances: list[int] = []  # that it brought


class Server:
    """Accepts connections and serves each in a thread.

    Slow clients cannot block others: TLS is negotiated in the connection's own thread, connections are counted before
    they get one, and at most half of them may come from one address. TCP_NODELAY, since Nagle's algorithm costs a
    factor of ten here.
    """

    def __init__(self, host: str, port: int, queries: QueryHandler | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._tls = server_context()
        self._queries = queries
        self._settings = Settings(queries=queries is not None)
        self._current = _Current()
        self._lock = threading.Lock()
        self._connections: Counter[str] = Counter()  # by address
        self._idle: list[SimpleQueue[tuple[socket.socket, str]]] = []  # a queue for each idle thread

    def serve_forever(self) -> None:
        """Accept connections until the process ends."""
        while True:
            client, address = self._listener.accept()
            host = address[0]
            if self._admit(host):
                self._hand_over(client, host)
            else:
                log.warning("from %s: too many connections; closing one", host)
                client.close()

    def authorize(self, calling: str, called: str, address: str) -> Rejection | None:  # noqa: ARG002
        """Reject unknown AE titles or addresses, and more associations than a process serves (PS3.8, 9.3.4)."""
        try:
            known = may_send(calling, address)
        except (OperationalError, InterfaceError) as error:
            report_outage(error)
            connection.close()
            return TEMPORARY_CONGESTION
        if not known:
            log.warning("from %s: unknown AE title or address: %r; manage.py ae add", address, calling)
            metrics.associations.labels("unknown").inc()
            record_event("rejected", f"dicom:{calling}", "unknown AE title or address", address=address)
            return CALLING_TITLE_NOT_RECOGNIZED
        if sum(self._connections.values()) > MAX_ASSOCIATIONS:
            return LOCAL_LIMIT_EXCEEDED
        metrics.associations.labels("accepted").inc()
        return None

    def open_sink(self, calling: str) -> "InstanceSink":
        """Open a spool file for a C-STORE."""
        return InstanceSink(Sender(f"dicom:{calling}"), self._current.instances)

    def commitment(self, request: ActionRequest) -> int:
        """Save a request for storage commitment."""
        try:
            return handle_request(request)
        except (OperationalError, InterfaceError) as error:
            report_outage(error)
            connection.close()
            return PROCESSING_FAILURE

    def query(self, request: QueryRequest, channel: QueryChannel) -> None:
        """Answer a query by the handler that the program was given."""
        begin_correlation()
        try:
            if self._queries is not None:
                self._queries(request, channel)
        except (OperationalError, InterfaceError) as error:
            report_outage(error)
            connection.close()
            channel.respond(OUT_OF_RESOURCES)

    def _admit(self, host: str) -> bool:
        """Count a connection, unless there are too many."""
        with self._lock:
            if self._connections.total() >= MAX_CONNECTIONS or self._connections[host] >= MAX_CONNECTIONS // 2:
                return False
            self._connections[host] += 1
            return True

    def _hand_over(self, client: socket.socket, host: str) -> None:
        """Give a connection to the thread that became idle last, or to a new one."""
        with self._lock:
            queue = self._idle.pop() if self._idle else None
        if queue is None:
            queue = SimpleQueue()
            threading.Thread(target=self._serve_connections, args=(queue,), daemon=True).start()
        queue.put((client, host))

    def _serve_connections(self, queue: "SimpleQueue[tuple[socket.socket, str]]") -> None:
        """Serve one connection after the other, the body of a thread; end when enough threads are idle."""
        idle = True
        while idle:
            self._serve(*queue.get())
            with self._lock:
                idle = len(self._idle) < MAX_IDLE_THREADS
                if idle:
                    self._idle.append(queue)
        connection.close()

    def _serve(self, client: socket.socket, host: str) -> None:
        """Serve a connection."""
        close_old_connections()  # the thread's session may be broken
        try:
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                secured = self._negotiate_tls(client, host)
                self._current.instances = []
                if secured is not None and serve_association(secured, host, self._settings, self):
                    record_release(self._current.instances)
        except ProtocolError as error:
            log.warning("from %s: association aborted: %s", host, error)
        except OSError as error:
            log.warning("from %s: connection error (%s)", host, type(error).__name__)
        except Exception:
            log.exception("from %s: association ended by an error", host)
        finally:
            with self._lock:
                self._connections[host] -= 1
                self._connections += Counter()  # drop addresses without connections

    def _negotiate_tls(self, client: socket.socket, host: str) -> socket.socket | None:
        """Return the connection to use, None if its TLS handshake failed."""
        if self._tls is None:
            return client
        client.settimeout(HANDSHAKE)
        try:
            return self._tls.wrap_socket(client, server_side=True)
        except OSError as error:
            log.warning("from %s: TLS handshake failed (%s)", host, type(error).__name__)
            metrics.associations.labels("no TLS").inc()
            return None


def record_release(instances: list[int]) -> None:
    """Record that an association was released, if an analysis waits for that; otherwise its quiet period counts."""
    if not instances or not any(one.on_release for one in load_analyses(settings.ANALYSES).values()):
        return
    try:
        Release.objects.create(instances=instances)
    except (OperationalError, InterfaceError) as error:
        log.error("the database does not respond (%s)", type(error).__name__)  # noqa: TRY400
        connection.close()


class InstanceSink:
    """Spools a data set while it arrives, and stores it; errors become the status of the C-STORE."""

    def __init__(self, sender: Sender, instances: list[int]) -> None:
        begin_correlation()
        self._sender, self._instances = sender, instances
        self._file: IncomingFile | None = None
        self._error: Exception | None = None
        try:
            self._file = IncomingFile()
        except (OSError, OperationalError, InterfaceError) as error:  # the encryption key is in the database
            self._error = error

    def write(self, part: memoryview | bytes) -> None:
        """Append bytes; after an error the rest is ignored."""
        if self._file is not None and self._error is None:
            try:
                self._file.write(part)
            except OSError as error:
                self._error = error

    def finish(self) -> int:
        """Store the instance; success only if it is durable."""
        source = self._sender.source
        try:
            with map_disk_full():
                if self._error is not None or self._file is None:
                    raise self._error or OSError
                stored = store_instance(self._file, self._sender)
        except RefusedError as error:
            log.info("from %s: %s", source, error)
            return CANNOT_UNDERSTAND
        except StorageFullError:
            log.error("the disk is full; no more instances are stored")  # noqa: TRY400
            return OUT_OF_RESOURCES
        except OSError as error:
            log.error("the disk: %s", error.strerror)  # noqa: TRY400
            return PROCESSING_FAILURE
        except (OperationalError, InterfaceError) as error:
            report_outage(error)
            connection.close()
            return PROCESSING_FAILURE
        finally:
            self.abort()
        report_recovery()
        images.info("from %s: instance %d, %s", source, stored.instance_id, stored.outcome)
        if stored.outcome != "duplicate":
            self._instances.append(stored.instance_id)
        return SUCCESS

    def abort(self) -> None:
        """Discard the spool file unless it was moved away."""
        if self._file is not None:
            self._file.discard()


def run(host: str, port: int, processes: int, queries: QueryHandler | None = None) -> int:
    """Receive until a signal, in processes that share the port; one that ends is replaced."""
    pydicom_settings.reading_validation_mode = IGNORE  # values are stored as received
    server = Server(host, port, queries)
    log.info("receiving on %s:%d as %s", host, server.port, TITLE)
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
    gc.freeze()  # the collector would write to what the processes share
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
