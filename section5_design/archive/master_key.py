"""The master key: from the environment or a file, never from the database. A KMS would stand behind `wrap`, `unwrap`.

Several keys may be given, a line each in the file or with commas between: the first wraps, all unwrap. So the master
key is changed without a pause: put the new one first, `manage.py keys rotate`, take the old one away.
"""

import hashlib
import os
import secrets
import tempfile
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

NONCE, FINGERPRINT = 12, 8  # bytes


def wrap(key: bytes) -> bytes:
    """A key, encrypted under the first master key (AES-256-GCM): fingerprint of the master, nonce, ciphertext."""
    master = masters()[0]
    nonce = os.urandom(NONCE)
    return fingerprint(master) + nonce + AESGCM(master).encrypt(nonce, key, None)


def unwrap(wrapped: bytes) -> bytes:
    """A key that `wrap` encrypted.

    Raises:
        ImproperlyConfigured: none of the master keys wrapped it, or somebody altered it.

    """
    mark, nonce, ciphertext = wrapped[:FINGERPRINT], wrapped[FINGERPRINT:][:NONCE], wrapped[FINGERPRINT + NONCE :]
    for master in masters():
        if fingerprint(master) == mark:
            try:
                return AESGCM(master).decrypt(nonce, ciphertext, None)
            except InvalidTag:
                raise ImproperlyConfigured("a sealing key in the database was altered; restore a backup") from None
    raise ImproperlyConfigured(
        f"the objects are sealed under the master key {mark.hex()}, which is not here; name it in MASTER_KEY_FILE"
    )


def is_current(wrapped: bytes) -> bool:
    """Whether a key is wrapped under the first master key."""
    return wrapped[:FINGERPRINT] == fingerprint(masters()[0])


def fingerprint(master: bytes) -> bytes:
    """What tells one master key from another, and nothing more."""
    return hashlib.sha256(b"section 5 master key" + master).digest()[:FINGERPRINT]


@lru_cache(maxsize=1)
def masters() -> list[bytes]:
    """The master keys.

    Raises:
        ImproperlyConfigured: one is no key, or there is none.

    """
    if settings.MASTER_KEY:
        words = settings.MASTER_KEY.split(",")
    else:
        path = Path(settings.MASTER_KEY_FILE)
        if not settings.PRODUCTION:
            make_secret(path, secrets.token_hex(32))
        try:
            words = path.read_text(encoding="ascii").split()
        except (OSError, UnicodeDecodeError):
            raise ImproperlyConfigured(f"{path}: the master key cannot be read from there") from None
    try:
        keys = [bytes.fromhex(word) for word in words]
    except ValueError:
        keys = []
    if not keys or any(len(key) != 32 for key in keys):
        raise ImproperlyConfigured("a master key must be 64 hexadecimal digits: openssl rand -hex 32")
    return keys


def make_secret(path: Path, content: str) -> None:
    """Write a secret where there is none yet; of several that do so at once, one."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="ascii") as file:  # of mode 0600
        file.write(f"{content}\n")
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return
