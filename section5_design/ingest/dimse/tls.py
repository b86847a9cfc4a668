"""TLS for DICOM connections, as PS3.15, B.12 requires (BCP 195)."""

import ssl

from django.conf import settings


def server_context() -> ssl.SSLContext | None:
    """Return the TLS context for incoming connections, or None; with a client CA, it requires certificates."""
    if not settings.TLS_CERTIFICATE:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    if settings.TLS_CLIENT_CA:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(settings.TLS_CLIENT_CA)
    return context


def client_context() -> ssl.SSLContext | None:
    """Return the TLS context for outgoing connections, or None."""
    if not settings.TLS_CERTIFICATE:
        return None
    context = ssl.create_default_context(cafile=settings.TLS_CLIENT_CA or None)
    context.check_hostname = False  # a modality's certificate names no host; its issuer is verified
    _harden(context)
    return context


def _harden(context: ssl.SSLContext) -> None:
    """Apply RFC 9325 (BCP 195): TLS 1.2 or newer, forward secrecy, authenticated encryption."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM")
    context.load_cert_chain(settings.TLS_CERTIFICATE, settings.TLS_KEY)
