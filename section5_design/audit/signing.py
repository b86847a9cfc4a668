"""The key that signs links and receipts: Ed25519 (RFC 8032), from a file, never from the database."""

import hashlib
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from core.secret_files import create_secret


@lru_cache(maxsize=1)
def _keys() -> list[Ed25519PrivateKey]:
    path = Path(settings.SIGNING_KEY_FILE)
    if not settings.PRODUCTION:
        create_secret(path, pem(Ed25519PrivateKey.generate()))
    try:
        parts = path.read_bytes().split(b"-----END PRIVATE KEY-----")[:-1]
        keys = [
            serialization.load_pem_private_key(part.strip() + b"\n-----END PRIVATE KEY-----\n", None) for part in parts
        ]
    except (OSError, ValueError):
        keys = []
    found = [key for key in keys if isinstance(key, Ed25519PrivateKey)]
    if not found or len(found) != len(keys):
        raise ImproperlyConfigured(f"{path}: no readable Ed25519 key: openssl genpkey -algorithm ed25519 -out {path}")
    return found


def signing_key() -> Ed25519PrivateKey:
    """Return the signing key: the first one in the file."""
    return _keys()[0]


def verifying_keys() -> list[Ed25519PublicKey]:
    """Return the keys whose signatures are valid: all in the file, so retired keys too."""
    return [key.public_key() for key in _keys()]


def public_pem() -> bytes:
    """Return the public key as PEM (RFC 8410)."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return signing_key().public_key().public_bytes(serialization.Encoding.PEM, form)


def key_id() -> str:
    """Return the fingerprint of the signing key."""
    return hashlib.sha256(public_pem()).hexdigest()[:16]


def pem(key: Ed25519PrivateKey) -> str:
    """Encode a private key as PEM (RFC 8410)."""
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode().strip()
