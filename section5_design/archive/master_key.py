"""The master key: from the environment or a file, never from the database. A KMS would do the wrapping.

Several keys may be given, one per line in the file or separated by commas: the first one wraps, all unwrap. So the
master key is rotated without downtime: put the new one first, `manage.py keys rotate`, remove the old one.
"""

import hashlib
import os
import secrets
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from core.secret_files import create_secret

NONCE, FINGERPRINT = 12, 8  # bytes


def wrap_key(key: bytes) -> bytes:
    """Encrypt a key under the first master key (AES-256-GCM): its fingerprint, a nonce, the ciphertext."""
    master = load_master_keys()[0]
    nonce = os.urandom(NONCE)
    return fingerprint(master) + nonce + AESGCM(master).encrypt(nonce, key, None)


def unwrap_key(wrapped: bytes) -> bytes:
    """Decrypt a key that `wrap_key` encrypted.

    Raises:
        ImproperlyConfigured: no master key fits, or the wrapped key was altered.

    """
    mark, nonce, ciphertext = wrapped[:FINGERPRINT], wrapped[FINGERPRINT:][:NONCE], wrapped[FINGERPRINT + NONCE :]
    for master in load_master_keys():
        if fingerprint(master) == mark:
            try:
                return AESGCM(master).decrypt(nonce, ciphertext, None)
            except InvalidTag:
                raise ImproperlyConfigured(
                    "a key-encryption key in the database was altered; restore a backup"
                ) from None
    raise ImproperlyConfigured(
        f"the objects are encrypted under master key {mark.hex()}, which is missing; add it to MASTER_KEY_FILE"
    )


def is_current(wrapped: bytes) -> bool:
    """Return whether a key is wrapped under the first master key."""
    return wrapped[:FINGERPRINT] == fingerprint(load_master_keys()[0])


def fingerprint(master: bytes) -> bytes:
    """Return a short identifier of a master key, which reveals nothing about it."""
    return hashlib.sha256(b"section 5 master key" + master).digest()[:FINGERPRINT]


@lru_cache(maxsize=1)
def load_master_keys() -> list[bytes]:
    """Load the master keys.

    Raises:
        ImproperlyConfigured: one is invalid, or there is none.

    """
    if settings.MASTER_KEY:
        words = settings.MASTER_KEY.split(",")
    else:
        path = Path(settings.MASTER_KEY_FILE)
        if not settings.PRODUCTION:
            create_secret(path, secrets.token_hex(32))
        try:
            words = path.read_text(encoding="ascii").split()
        except (OSError, UnicodeDecodeError):
            raise ImproperlyConfigured(f"{path}: cannot read the master key") from None
    try:
        keys = [bytes.fromhex(word) for word in words]
    except ValueError:
        keys = []
    if not keys or any(len(key) != 32 for key in keys):
        raise ImproperlyConfigured("a master key must be 64 hexadecimal digits: openssl rand -hex 32")
    return keys
