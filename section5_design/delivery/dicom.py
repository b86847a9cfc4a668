"""Send to a DICOM application entity (C-STORE), in the transfer syntax that is stored, and in little memory."""

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pynetdicom import AE, evt
from pynetdicom import _config as pynetdicom_config

from archive.models import Instance
from delivery.errors import RefusedError, UnavailableError
from ingest.dimse.tls import client_context

AE_TITLE = "SECTION5"
CONNECT_SECONDS, ANSWER_SECONDS = 10, 60
SUCCESS, WARNINGS = 0x0000, (0xB000, 0xB006, 0xB007)  # PS3.4, table B.2-1
NOT_ACCEPTED = "does not accept the SOP class in the stored transfer syntax"
OUT_OF_RESOURCES = range(0xA700, 0xA800)

pynetdicom_config.STORE_SEND_CHUNKED_DATASET = True
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # the reasons of the jobs say it in one line


class Peer(Protocol):
    """An application entity to associate with."""

    title: str
    host: str
    port: int
    tls: bool


Contexts = Sequence[tuple[str, Sequence[str]]]  # SOP classes with the transfer syntaxes of one presentation context


def send(association: Any, instance: Instance, path: Path) -> None:
    """Send a file over an association.

    Raises:
        RefusedError: the peer accepts neither the SOP class nor the transfer syntax, or not this instance.
        UnavailableError: it did not answer, or has no space.

    """
    pair = (instance.sop_class_uid, [instance.transfer_syntax_uid])
    if pair not in [(one.abstract_syntax, one.transfer_syntax) for one in association.accepted_contexts]:
        raise RefusedError(NOT_ACCEPTED)
    try:
        status = association.send_c_store(path).get("Status")
    except (RuntimeError, ValueError):
        raise UnavailableError("ended the association") from None
    check_status(status)


@contextmanager
def associate(peer: Peer, contexts: Contexts) -> Iterator[Any]:
    """Associate with a peer, and release the association at the end.

    Raises:
        RefusedError: it accepts none of the contexts.
        UnavailableError: it cannot be reached, or rejects the association.

    """
    ae = AE(ae_title=AE_TITLE)
    ae.connection_timeout = ae.acse_timeout = CONNECT_SECONDS
    ae.dimse_timeout = ae.network_timeout = ANSWER_SECONDS
    for sop_class, syntaxes in contexts:
        ae.add_requested_context(sop_class, list(syntaxes))
    options: dict[str, Any] = {"evt_handlers": [(evt.EVT_CONN_OPEN, disable_nagle)]}
    if peer.tls:
        context = client_context()
        if context is None:
            raise RefusedError("TLS needs TLS_CERTIFICATE and TLS_KEY here")
        options["tls_args"] = (context, peer.host)
    association = ae.associate(peer.host, peer.port, ae_title=peer.title, **options)
    if association.is_rejected:
        raise UnavailableError("rejected the association: it may not know SECTION5, or be busy")
    if not association.is_established:
        if association.is_aborted and association.acceptor.primitive is not None:
            raise RefusedError(NOT_ACCEPTED)
        raise UnavailableError("cannot be reached, or does not answer")
    try:
        yield association
    except BaseException:
        if association.is_established:
            association.abort()
        raise
    if association.is_established:
        association.release()


def disable_nagle(event: evt.Event) -> None:
    """Send small PDUs at once."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def check_status(status: int | None) -> None:
    """Check the status of a C-STORE.

    Raises:
        RefusedError: it refused the instance.
        UnavailableError: it did not answer, or has no space.

    """
    if status is None:
        raise UnavailableError("did not answer")
    if status in OUT_OF_RESOURCES:
        raise UnavailableError(f"is out of resources (status {status:04X})")
    if status not in (SUCCESS, *WARNINGS):
        raise RefusedError(f"refused the instance (status {status:04X})")
