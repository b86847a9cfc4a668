"""Objects sealed at rest: AES-256-GCM, each under a data key of its own, in chunks, so that 2 GB stream.

A sealed file is a header (magic, which sealing key, nonce, data key wrapped under that sealing key) and chunks of
64 KiB, each with its tag. A chunk's nonce is its number and whether it is the last (the STREAM construction: Hoang,
Reyhanitabar, Rogaway, Vizár, CRYPTO 2015), and the header is authenticated with each: a bit that flips, chunks that
change places and an end that is cut off are all noticed. Sealing keys lie in the database, wrapped under the master
key; who changes the master key wraps those few anew, and no object is written again.
"""

import io
import os
import struct
import uuid
from functools import lru_cache
from typing import Any, BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import connection, transaction

from archive.master_key import unwrap, wrap
from archive.models import SealingKey

MAGIC = b"S5SEAL1\n"
HEADER = struct.Struct(">8s16s12s48s")  # magic, id of the sealing key, nonce, wrapped data key
CHUNK = 1 << 16
TAG = 16


class SealBrokenError(Exception):
    """The object was altered, cut short, or never sealed. Trying again does not help."""


@lru_cache(maxsize=1)
def current_key() -> tuple[bytes, AESGCM]:
    """The sealing key for new objects, with its id; the first process to need one makes it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(5001)")
        newest = SealingKey.objects.order_by("-created_at").first()
        if newest is None:
            newest = SealingKey.objects.create(id=uuid.uuid4(), wrapped=wrap(AESGCM.generate_key(256)))
    return newest.id.bytes, AESGCM(unwrap(bytes(newest.wrapped)))


@lru_cache(maxsize=100)
def key_by_id(key_id: bytes) -> AESGCM:
    """A sealing key.

    Raises:
        SealBrokenError: there is none of this id.

    """
    found = SealingKey.objects.filter(pk=uuid.UUID(bytes=key_id)).first()
    if found is None:
        raise SealBrokenError("is sealed under a key that is not in the database")
    return AESGCM(unwrap(bytes(found.wrapped)))


def nonce(number: int, *, last: bool) -> bytes:
    """Of a chunk; the key is the object's own, so a number never comes twice."""
    return number.to_bytes(11, "big") + bytes([last])


class SealingWriter:
    """Seals what is written, into a file."""

    def __init__(self, target: Any) -> None:
        key_id, wrapping = current_key()
        data_key, wrap_nonce = AESGCM.generate_key(256), os.urandom(12)
        self._header = HEADER.pack(MAGIC, key_id, wrap_nonce, wrapping.encrypt(wrap_nonce, data_key, MAGIC + key_id))
        self._cipher = AESGCM(data_key)
        self._target = target
        self._waiting = bytearray()
        self._number = 0
        self._ended = False
        target.write(self._header)

    def write(self, part: bytes) -> None:
        """The next bytes."""
        self._waiting += part
        if len(self._waiting) > CHUNK:  # the last chunk is known only at the end, so one is held back
            view, place = memoryview(self._waiting), 0
            while len(view) - place > CHUNK:
                self._seal(view[place : place + CHUNK], last=False)
                place += CHUNK
            view.release()
            del self._waiting[:place]

    def end(self) -> None:
        """Seal what is held back; once."""
        if not self._ended:
            self._ended = True
            self._seal(self._waiting, last=True)

    def _seal(self, chunk: Any, *, last: bool) -> None:
        self._target.write(self._cipher.encrypt(nonce(self._number, last=last), chunk, self._header))
        self._number += 1


class SealedFile(io.RawIOBase):
    """A sealed file, read as what it holds, from any place.

    Raises:
        SealBrokenError: here or in reading: what is read is not what was sealed.

    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._header = source.read(HEADER.size)
        if len(self._header) < HEADER.size or not self._header.startswith(MAGIC):
            raise SealBrokenError("is not sealed")
        _, key_id, wrap_nonce, wrapped = HEADER.unpack(self._header)
        try:
            self._cipher = AESGCM(key_by_id(key_id).decrypt(wrap_nonce, wrapped, MAGIC + key_id))
        except InvalidTag:
            raise SealBrokenError("its seal does not hold: the header was altered") from None
        sealed = source.seek(0, io.SEEK_END) - HEADER.size
        self._chunks = -(-sealed // (CHUNK + TAG))
        self.size = sealed - self._chunks * TAG  # bytes of what it holds
        if self._chunks < 1 or self.size < 0:
            raise SealBrokenError("is cut short")
        self._place = 0
        self._held: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes, of one chunk at most."""
        if self._place >= self.size:
            if self.size == 0:
                self._chunk(0)  # an empty object has a seal too
            return 0
        number, start = divmod(self._place, CHUNK)
        part = self._chunk(number)[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._place = max(0, place + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence])
        return self._place

    def tell(self) -> int:
        """The place."""
        return self._place

    def close(self) -> None:
        """Close the sealed file too."""
        self._source.close()
        super().close()

    def _chunk(self, number: int) -> bytes:
        if self._held[0] != number:
            self._source.seek(HEADER.size + number * (CHUNK + TAG))
            sealed = self._source.read(CHUNK + TAG)
            try:
                opened = self._cipher.decrypt(nonce(number, last=number == self._chunks - 1), sealed, self._header)
            except InvalidTag:
                raise SealBrokenError(f"its seal does not hold near byte {number * CHUNK}") from None
            self._held = (number, opened)
        return self._held[1]


class Opened:
    """What a sealed file holds, with the methods of a file, at the speed of a buffered one.

    No BufferedReader itself: of that pydicom would keep the name, and read deferred values from the sealed file.
    """

    def __init__(self, sealed: SealedFile) -> None:
        buffered = io.BufferedReader(sealed, CHUNK)
        self.read, self.readinto, self.readline = buffered.read, buffered.readinto, buffered.readline
        self.seek, self.tell, self.close = buffered.seek, buffered.tell, buffered.close
        self.seekable, self.readable = buffered.seekable, buffered.readable

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def opened(source: BinaryIO) -> BinaryIO:
    """A sealed file as what it holds.

    Raises:
        SealBrokenError: it is not what was sealed; perhaps only in reading.

    """
    try:
        return cast("BinaryIO", Opened(SealedFile(source)))
    except BaseException:
        source.close()
        raise
