"""Read frames and pixel data without the rest of a file: as stored, or decoded (PS3.5, 8 and A)."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from analysis.windowing import decode_frame
from archive.encryption import ObjectIntegrityError
from archive.models import Instance
from archive.object_store import object_key, open_object
from query.errors import NotAcceptableError, NotFoundError, RequestError

CHUNK = 1 << 20
MAX_DECODED = 256 << 20  # bytes of an instance that is decoded in memory; larger ones are sent only as stored
MAX_DECODINGS = 2  # at a time in a process
DEFLATED = "1.2.840.10008.1.2.1.99"
NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", DEFLATED}
SWAPPED = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}  # bytes of a value

_slots = threading.BoundedSemaphore(MAX_DECODINGS)


@contextmanager
def reading(subject: str) -> Iterator[None]:
    """Read pixels: pydicom raises all kinds of errors on malformed ones.

    Raises:
        NotAcceptableError: they cannot be read.

    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (ObjectIntegrityError, RequestError):
            raise
        except Exception as error:
            raise NotAcceptableError(f"{subject} cannot be decoded ({type(error).__name__})") from error


def can_decode(instance: Instance) -> bool:
    """Return whether an instance can be sent in Explicit VR Little Endian."""
    syntax = instance.transfer_syntax_uid
    if max(instance.size, instance.decoded_size) > MAX_DECODED:
        return False
    if syntax in NATIVE or not instance.decoded_size:
        return True
    try:
        return get_decoder(UID(syntax)).is_available
    except NotImplementedError:
        return False


def iter_stored(instance: Instance) -> Iterator[bytes]:
    """Read a file as stored."""
    with open_object(object_key(instance.sha256)) as file:
        while part := file.read(CHUNK):
            yield part


def iter_decoded(instance: Instance, *, or_stored: bool = False) -> Iterator[bytes]:
    """Read a file in Explicit VR Little Endian.

    Args:
        instance: the instance.
        or_stored: read it as stored if it cannot be decoded.

    Raises:
        NotAcceptableError: it cannot be decoded.

    """
    try:
        content = memoryview(decode(instance))
    except NotAcceptableError:
        if not or_stored:
            raise
        yield from iter_stored(instance)
        return
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK].tobytes()


def decode(instance: Instance, *, implicit: bool = False) -> bytes:
    """Convert a file to Explicit or Implicit VR Little Endian."""
    with _slots, reading("an instance"), open_object(object_key(instance.sha256)) as file:
        dataset = dcmread(file, force=True)
        if instance.transfer_syntax_uid not in NATIVE and "PixelData" in dataset:
            dataset.decompress(generate_instance_uid=False)
        elif instance.transfer_syntax_uid == ExplicitVRBigEndian:
            dataset.walk(swap_bytes)
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        target = io.BytesIO()
        dcmwrite(target, dataset, implicit_vr=implicit, little_endian=True, force_encoding=True)
        return target.getvalue()


def swap_bytes(dataset: Dataset, element: Any) -> None:  # noqa: ARG001
    """Reverse the bytes of the numbers of an element, which pydicom leaves as they are."""
    if (size := SWAPPED.get(element.VR)) and isinstance(element.value, bytes):
        element.value = np.frombuffer(element.value, f">u{size}").astype(f"<u{size}").tobytes()


class PixelReader:
    """Reads the frames of one instance, which are counted from 0.

    Raises:
        NotAcceptableError: its header or a frame cannot be read.
        NotFoundError: it has no frames.

    """

    def __init__(self, file: BinaryIO, instance: Instance) -> None:
        self._file = file
        self._syntax = instance.transfer_syntax_uid
        with reading("a frame"):
            self._header = dcmread(file, force=True, stop_before_pixels=True)
            self.count = max(1, int(self._header.get("NumberOfFrames") or 1))
        if not instance.decoded_size:
            raise NotFoundError("the instance has no frames")
        is_implicit, _ = self._header.original_encoding  # as it is, not as the transfer syntax says
        self._start = file.tell() + (8 if is_implicit else 12)  # of the value

    def stored(self, index: int) -> bytes:
        """Return a frame as it is stored: encapsulated, or native."""
        if self._syntax in NATIVE:
            return self.decoded(index)
        self._file.seek(self._start)
        offsets = None
        if "ExtendedOffsetTable" in self._header:
            offsets = (self._header.ExtendedOffsetTable, self._header.ExtendedOffsetTableLengths)
        with reading("a frame"):
            return get_frame(self._file, index, number_of_frames=self.count, extended_offsets=offsets)

    def decoded(self, index: int) -> bytes:
        """Return a frame in Explicit VR Little Endian: native as it is stored, else decoded, colour as RGB."""
        with reading("a frame"):
            return self._decode(index)

    def _decode(self, index: int) -> bytes:
        bits = get_expected_length(self._header, "pixels") * int(self._header.BitsAllocated) // self.count
        if self._syntax in NATIVE - {DEFLATED, ExplicitVRBigEndian} and bits % 8 == 0:
            length = get_expected_length(self._header, "bytes") // self.count
            self._file.seek(self._start + index * length)
            frame = self._file.read(length)
            if len(frame) < length:
                raise EOFError
            return frame
        with _slots:
            self._file.seek(0)
            values = decode_frame(self._file, index)
        if self._header.BitsAllocated == 1:
            return np.packbits(values.astype(np.uint8), bitorder="little").tobytes()
        return values.astype(values.dtype.newbyteorder("<")).tobytes()
