"""Which DICOM application entities may send, by title and address; and TLS as PS3.15, B.12 asks for (BCP 195)."""

import ipaddress
import ssl
import time
from functools import lru_cache

from django.conf import settings

from archive.models import Peer

REMEMBERED = 5.0  # seconds that the list is good for


def may_send(title: str, address: str) -> bool:
    """Whether an entity may associate; on a machine that serves itself alone, until there is a peer, anybody may."""
    peers = known_peers(int(time.monotonic() / REMEMBERED))
    if not peers:
        return not settings.FOR_OTHERS
    came_from = ipaddress.ip_address(address.split("%")[0])
    came_from = getattr(came_from, "ipv4_mapped", None) or came_from
    return any(title == known and came_from in network for known, network in peers)


@lru_cache(maxsize=1)
def known_peers(_: int) -> list[tuple[str, ipaddress.IPv4Network | ipaddress.IPv6Network]]:
    """Titles and where they may come from, as they were a moment ago."""
    return [(peer.title, ipaddress.ip_network(peer.network)) for peer in Peer.objects.all()]


def server_context() -> ssl.SSLContext | None:
    """TLS for those who call; None where no certificate is named. Clients show theirs where a CA is named for them."""
    if not settings.TLS_CERTIFICATE:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    if settings.TLS_CLIENT_CA:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(settings.TLS_CLIENT_CA)
    return context


def client_context() -> ssl.SSLContext | None:
    """TLS for those who are called back; None where no certificate is named."""
    if not settings.TLS_CERTIFICATE:
        return None
    context = ssl.create_default_context(cafile=settings.TLS_CLIENT_CA or None)
    context.check_hostname = False  # a modality's certificate names no host; that the authority gave it is checked
    _harden(context)
    return context


def _harden(context: ssl.SSLContext) -> None:
    """RFC 9325 (BCP 195): TLS 1.2 or newer, forward secrecy, authenticated encryption."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM")
    context.load_cert_chain(settings.TLS_CERTIFICATE, settings.TLS_KEY)
