"""Envelope encryption at rest: AES-256-GCM, each object under its own data key, in chunks, so that 2 GB stream.

An encrypted file is a header (magic, ID of the key-encryption key, nonce, data key wrapped under it) and chunks of
64 KiB, each with its tag. A chunk's nonce is its number and whether it is the last (the STREAM construction: Hoang,
Reyhanitabar, Rogaway, Vizár, CRYPTO 2015), and each tag covers the header too: a flipped bit, swapped chunks and
truncation are all detected. Key-encryption keys are in the database, wrapped under the master key: rotating the master
key re-wraps those few keys, and no object is written again.
"""

import io
import os
import struct
import threading
import uuid
from functools import lru_cache
from typing import Any, BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import connection, transaction

from archive.master_key import unwrap_key, wrap_key
from archive.models import KeyEncryptionKey

MAGIC = b"S5SEAL1\n"
HEADER = struct.Struct(">8s16s12s48s")  # magic, ID of the KEK, nonce, wrapped data key
CHUNK = 1 << 16
TAG = 16
MAX_USES = 1 << 30  # of a key-encryption key
RESERVED_USES = 1000  # at a time, by each process


class ObjectIntegrityError(Exception):
    """The object was altered, truncated, or never encrypted. A retry does not help."""


class WrappingKey:
    """The key-encryption key that this process wraps data keys with; its uses are reserved in blocks.

    Wrapping draws random 96-bit nonces, which limits a key to 2^32 uses (NIST SP 800-38D, 8.3). It is replaced long
    before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 0
        self._id, self._key = b"", AESGCM(bytes(32))

    def take(self) -> tuple[bytes, AESGCM]:
        """Return the key and its ID for one use.

        Raises:
            ImproperlyConfigured: the master key does not fit.

        """
        with self._lock:
            if self._left == 0:
                self._id, self._key = reserve_uses(RESERVED_USES)
                self._left = RESERVED_USES
            self._left -= 1
            return self._id, self._key


@lru_cache(maxsize=1)
def wrapping_key(_: int) -> WrappingKey:
    """Return the wrapping key of a process, by its PID: a forked process reserves uses of its own."""
    return WrappingKey()


def current_key() -> tuple[bytes, AESGCM]:
    """Return the key-encryption key for a new object, and its ID."""
    return wrapping_key(os.getpid()).take()


def reserve_uses(count: int) -> tuple[bytes, AESGCM]:
    """Reserve uses of the newest key; create a key if there is none, or the newest one is used up."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(5001)")
        newest = KeyEncryptionKey.objects.order_by("-created_at").first()
        if newest is None or newest.uses + count > MAX_USES:
            newest = KeyEncryptionKey(id=uuid.uuid4(), wrapped=wrap_key(AESGCM.generate_key(256)))
        newest.uses += count
        newest.save()
    return newest.id.bytes, AESGCM(unwrap_key(bytes(newest.wrapped)))


@lru_cache(maxsize=100)
def key_by_id(key_id: bytes) -> AESGCM:
    """Load a key-encryption key.

    Raises:
        ObjectIntegrityError: no key has this ID.

    """
    found = KeyEncryptionKey.objects.filter(pk=uuid.UUID(bytes=key_id)).first()
    if found is None:
        raise ObjectIntegrityError("is encrypted under a key that is not in the database")
    return AESGCM(unwrap_key(bytes(found.wrapped)))


def chunk_nonce(number: int, *, last: bool) -> bytes:
    """Return the nonce of a chunk; the data key belongs to one object, so a number never repeats."""
    return number.to_bytes(11, "big") + bytes([last])


class EncryptingWriter:
    """Encrypts data while it is written to a file."""

    def __init__(self, target: Any) -> None:
        key_id, wrapping = current_key()
        data_key, wrap_nonce = AESGCM.generate_key(256), os.urandom(12)
        self._header = HEADER.pack(MAGIC, key_id, wrap_nonce, wrapping.encrypt(wrap_nonce, data_key, MAGIC + key_id))
        self._cipher = AESGCM(data_key)
        self._target = target
        self._pending = bytearray()
        self._number = 0
        self._finished = False
        target.write(self._header)

    def write(self, part: bytes | memoryview) -> None:
        """Encrypt the next bytes."""
        self._pending += part
        if len(self._pending) > CHUNK:  # the last chunk is known only at the end, so one is held back
            view, place = memoryview(self._pending), 0
            while len(view) - place > CHUNK:
                self._encrypt_chunk(view[place : place + CHUNK], last=False)
                place += CHUNK
            view.release()
            del self._pending[:place]

    def finish(self) -> None:
        """Write the last chunk; further calls do nothing."""
        if not self._finished:
            self._finished = True
            self._encrypt_chunk(self._pending, last=True)

    def _encrypt_chunk(self, chunk: Any, *, last: bool) -> None:
        self._target.write(self._cipher.encrypt(chunk_nonce(self._number, last=last), chunk, self._header))
        self._number += 1


class EncryptedFile(io.RawIOBase):
    """An encrypted file, decrypted while it is read; seekable.

    Raises:
        ObjectIntegrityError: the file was altered; on opening or while reading.

    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._header = source.read(HEADER.size)
        if len(self._header) < HEADER.size or not self._header.startswith(MAGIC):
            raise ObjectIntegrityError("is not encrypted")
        _, key_id, wrap_nonce, wrapped = HEADER.unpack(self._header)
        try:
            self._cipher = AESGCM(key_by_id(key_id).decrypt(wrap_nonce, wrapped, MAGIC + key_id))
        except InvalidTag:
            raise ObjectIntegrityError("was altered: its header does not authenticate") from None
        encrypted = source.seek(0, io.SEEK_END) - HEADER.size
        self._chunks = -(-encrypted // (CHUNK + TAG))
        self.size = encrypted - self._chunks * TAG  # bytes of what it holds
        if self._chunks < 1 or self.size < 0:
            raise ObjectIntegrityError("is truncated")
        self._position = 0
        self._held: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes, at most to the end of a chunk."""
        if self._position >= self.size:
            if self.size == 0:
                self._chunk(0)  # an empty object has a tag too
            return 0
        number, start = divmod(self._position, CHUNK)
        part = self._chunk(number)[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        self._position = max(0, place + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence])
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def close(self) -> None:
        """Close the encrypted file too."""
        self._source.close()
        super().close()

    def _chunk(self, number: int) -> bytes:
        if self._held[0] != number:
            self._source.seek(HEADER.size + number * (CHUNK + TAG))
            encrypted = self._source.read(CHUNK + TAG)
            try:
                decrypted = self._cipher.decrypt(
                    chunk_nonce(number, last=number == self._chunks - 1), encrypted, self._header
                )
            except InvalidTag:
                raise ObjectIntegrityError(f"was altered near byte {number * CHUNK}") from None
            self._held = (number, decrypted)
        return self._held[1]


class DecryptedReader:
    """A decrypted file with the methods of a buffered one.

    Not a BufferedReader itself: pydicom would keep its name and read deferred values from the encrypted file.
    """

    def __init__(self, encrypted: EncryptedFile) -> None:
        buffered = io.BufferedReader(encrypted, CHUNK)
        self.read, self.readinto, self.readline = buffered.read, buffered.readinto, buffered.readline
        self.seek, self.tell, self.close = buffered.seek, buffered.tell, buffered.close
        self.seekable, self.readable = buffered.seekable, buffered.readable

    def __enter__(self) -> "DecryptedReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decrypting_reader(source: BinaryIO) -> BinaryIO:
    """Open an encrypted file for reading its decrypted content.

    Raises:
        ObjectIntegrityError: the file was altered; on opening or while reading.

    """
    try:
        return cast("BinaryIO", DecryptedReader(EncryptedFile(source)))
    except BaseException:
        source.close()
        raise


def encrypt_text(text: str) -> bytes:
    """Encrypt a short text, for a column of the database."""
    key_id, wrapping = current_key()
    nonce = os.urandom(12)
    return key_id + nonce + wrapping.encrypt(nonce, text.encode(), key_id)


def decrypt_text(encrypted: bytes) -> str:
    """Decrypt what `encrypt_text` returned.

    Raises:
        ObjectIntegrityError: it was altered, or its key is gone.

    """
    key_id, nonce = encrypted[:16], encrypted[16:28]
    try:
        return key_by_id(key_id).decrypt(nonce, encrypted[28:], key_id).decode()
    except (InvalidTag, ValueError):
        raise ObjectIntegrityError("was altered") from None
