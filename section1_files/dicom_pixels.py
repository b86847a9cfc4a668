"""Decode the stored pixel values of one frame (PS3.5 section 8 and annex A.4)."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.tag import Tag, TagType

from dicom_header import Header, load_deferred, open_dicom
from errors import InputError

MAX_SAMPLES = 1 << 28  # of a frame
FLOAT_PIXELS = {0x7FE00008: "f4", 0x7FE00009: "f8"}
SUPPORTED = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
    "YBR_PARTIAL_420": 3,
}
START_OF_SCAN = 0xDA
GE_PRIVATE = "1.2.840.113619.5.2"  # implicit little endian, with big-endian pixels


def get_number(dataset: Dataset, key: TagType, default: float) -> float:
    """Return the first value of an element as a number, or `default` where it is absent, empty or invalid."""
    try:
        value = dataset[key].value
    except Exception:  # noqa: BLE001 (pydicom raises many types for a damaged value)
        return default
    if isinstance(value, bytes):  # an unknown VR
        return int.from_bytes(value, "little") if len(value) in (2, 4) else default
    if not isinstance(value, str) and hasattr(value, "__getitem__"):
        value = value[0] if len(value) else None
    try:
        return float(str(value).strip(" \0"))
    except ValueError:
        return default


def get_int(dataset: Dataset, key: TagType, default: int) -> int:
    """Return the first value of an element as an integer, or `default`."""
    number = get_number(dataset, key, default)
    return int(number) if math.isfinite(number) else default


def get_text(dataset: Dataset, key: TagType) -> str:
    """Return the value of an element as text without padding; empty where it is absent or invalid."""
    try:
        value = dataset[key].value if key in dataset else ""
    except Exception:  # noqa: BLE001 (pydicom raises many types for a damaged value)
        return ""
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value or "")).strip(" \0")


class PixelReader:
    """Reads frames of stored values.

    Args:
        header: The header of the file.
        remark: Receives remarks about missing or assumed values.

    Raises:
        InputError: The file holds no pixels, or lacks an element that is needed to read them.

    """

    def __init__(self, header: Header, remark: Callable[[str], None]) -> None:
        self.header, self._remark, dataset = header, remark, header.dataset
        if not header.pixels:
            raise InputError(header.path, "holds no pixels")
        self.rows, self.columns = get_int(dataset, "Rows", 0), get_int(dataset, "Columns", 0)
        if self.rows <= 0 or self.columns <= 0:
            raise InputError(header.path, "its pixels cannot be decoded (no rows or columns)")
        self.tag = min(header.pixels, key=lambda tag: -tag)
        self.element = header.pixels[self.tag]
        self.frames = max(1, get_int(dataset, "NumberOfFrames", 1))
        self.photometric = get_text(dataset, "PhotometricInterpretation")
        self.samples = get_int(dataset, "SamplesPerPixel", SUPPORTED.get(self.photometric, 1))
        if not self.photometric:
            self.photometric = "MONOCHROME2" if self.samples == 1 else "RGB"
            remark(f"photometric interpretation missing; {self.photometric} assumed")
        self.allocated = get_int(dataset, "BitsAllocated", 8)
        self.bits_stored = min(get_int(dataset, "BitsStored", self.allocated), self.allocated) or self.allocated
        self.high_bit = get_int(dataset, "HighBit", self.bits_stored - 1)
        if not self.bits_stored - 1 <= self.high_bit < self.allocated:
            self.high_bit = self.bits_stored - 1
        self.signed = get_int(dataset, "PixelRepresentation", 0) == 1
        self.syntax = get_text(dataset.file_meta, "TransferSyntaxUID")
        self._words: NDArray[Any] | None = None

    def load(self, keyword: str) -> Dataset:
        """Return the data set, with the value of `keyword` loaded."""
        if keyword in self.header.dataset:
            load_deferred(self.header, Tag(keyword))
        return self.header.dataset

    def read_frame(self, frame: int) -> NDArray[Any]:
        """Return the values of a frame, from 1, as (rows, columns), or as RGB (rows, columns, 3).

        Raises:
            ValueError: The pixels cannot be decoded.

        """
        if SUPPORTED.get(self.photometric) != self.samples:
            raise ValueError(f"{self.photometric} with {self.samples} samples per pixel is not supported")
        if self.rows * self.columns * self.samples > MAX_SAMPLES:
            raise ValueError(f"a frame of more than {MAX_SAMPLES:,} samples")
        if self.element.length is None:
            return self._read_encapsulated(frame)
        words = self._read_native(frame)
        self._words = words
        if self.tag in FLOAT_PIXELS:
            return words
        values = self._extract(words)
        if self.samples == 1:
            return values
        if self.photometric in ("YBR_FULL", "YBR_FULL_422"):
            return self._to_rgb(values)
        if self.photometric != "RGB":
            raise ValueError(f"uncompressed {self.photometric} is not supported")
        return values

    def _to_rgb(self, values: NDArray[Any]) -> NDArray[Any]:
        if self.bits_stored != 8:
            raise ValueError(f"{self.photometric} of {self.bits_stored} bits is not supported")
        y, cb, cr = np.moveaxis(values.astype(np.float64), -1, 0)
        cb, cr = cb - 128, cr - 128
        rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
        return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)

    def _read_native(self, frame: int) -> NDArray[Any]:
        """Return the words of an uncompressed frame as (rows, columns) or (rows, columns, samples)."""
        rows, columns, samples = self.rows, self.columns, self.samples
        subsampled = self.photometric == "YBR_FULL_422"
        bits_allocated = {0x7FE00008: 32, 0x7FE00009: 64}.get(self.tag, self.allocated)
        if not 1 <= bits_allocated <= 64:
            raise ValueError(f"{bits_allocated} bits allocated")
        count = rows * columns * (2 if subsampled else samples)
        bits = count * bits_allocated
        start, stop = (frame - 1) * bits, frame * bits
        length = self.element.length or 0
        expected = (self.frames * bits + 7) // 8
        if length > expected + expected % 2:
            self._remark(f"the pixel data are {length - expected:,} bytes longer than its frames need")
        first_byte, last_byte = start // 8 & ~1, (stop + 15) // 16 * 2
        with open_dicom(self.header.path) as stream:
            stream.seek(self.element.offset + first_byte)
            data = stream.read(max(0, min(last_byte, length) - first_byte))
        if len(data) * 8 < stop - first_byte * 8:
            missing = (stop + 7) // 8 - first_byte - len(data)
            if not data:
                raise ValueError(f"the pixel data end before frame {frame}")
            self._remark(f"the pixel data are too short: {missing:,} bytes of frame {frame} are missing and shown as 0")
            data += bytes(missing + 1)
        order = "big" if self.syntax == GE_PRIVATE else self.header.byte_order
        sign = "<" if order == "little" else ">"
        if bits_allocated in (8, 16, 32, 64):
            kind = FLOAT_PIXELS.get(self.tag, f"u{bits_allocated // 8}")
            if bits_allocated == 8 and order == "big" and self.element.vr == "OW":
                data = _swap_pairs(data)
            words = np.frombuffer(data, sign + kind, count, start // 8 - first_byte)
        else:
            data = _swap_pairs(data) if order == "big" and self.element.vr == "OW" else data
            packed = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[start - first_byte * 8 :][:bits]
            if bits_allocated == 1:
                words = packed
            else:
                words = packed.reshape(count, bits_allocated) @ (1 << np.arange(bits_allocated, dtype=np.int64))
        if subsampled:  # Y1 Y2 Cb Cr for two pixels
            y1, y2, cb, cr = words.reshape(-1, 4).T
            pairs = np.stack([y1, cb, cr, y2, cb, cr], axis=-1)
            return pairs.reshape(rows, columns, 3)
        if samples == 1:
            return words.reshape(rows, columns)
        if get_int(self.header.dataset, "PlanarConfiguration", 0) == 1:
            return words.reshape(samples, rows, columns).transpose(1, 2, 0)
        return words.reshape(rows, columns, samples)

    def _extract(self, words: NDArray[Any]) -> NDArray[Any]:
        """Return the stored values in the words (PS3.5 8.1.1): shifted, masked, sign extended."""
        low = self.high_bit + 1 - self.bits_stored
        values = words.astype(np.int64) >> low
        values &= (1 << min(self.bits_stored, 63)) - 1
        if self.signed and self.bits_stored < 64:
            values -= (values >> (self.bits_stored - 1)) << self.bits_stored
        return values

    def _read_encapsulated(self, frame: int) -> NDArray[Any]:
        """Decode a compressed frame with pydicom's decoders."""
        with open_dicom(self.header.path) as stream:
            stream.seek(self.element.offset)
            codestream = get_frame(stream, frame - 1, number_of_frames=self.frames)
        sniffed = detect_syntax(codestream)
        syntaxes = [syntax for syntax in dict.fromkeys((self.syntax, sniffed)) if _has_decoder(syntax)]
        if not syntaxes:
            name = uid.UID(self.syntax).name if self.syntax else "missing transfer syntax"
            raise ValueError(f"no decoder for {name}")
        for syntax in syntaxes:
            try:
                values = self._decode(codestream, uid.UID(syntax))
                break
            except Exception:
                if syntax == syntaxes[-1]:
                    raise
        if values.ndim == 2:
            self._words = values
            if syntax == uid.RLELossless:
                return self._extract(values)
        return values

    def _decode(self, codestream: bytes, syntax: uid.UID) -> NDArray[Any]:
        rle = syntax == uid.RLELossless  # its words may hold overlay bits
        options: dict[str, Any] = {
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples,
            "photometric_interpretation": self.photometric,
            "bits_allocated": self.allocated,
            "bits_stored": self.allocated if rle and self.samples == 1 else self.bits_stored,
            "pixel_representation": 0 if rle else int(self.signed),
            "planar_configuration": get_int(self.header.dataset, "PlanarConfiguration", 0),
            "number_of_frames": 1,
            "pixel_keyword": "PixelData",
            "pixel_vr": "OB",
        }
        if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
            codestream = _repair_scan_header(codestream)
        values, _ = get_decoder(syntax).as_array(encapsulate([codestream]), index=0, **options)
        return values

    def read_overlay(self, group: int, rows: int, columns: int, index: int) -> NDArray[np.bool_]:
        """Return an overlay plane (PS3.3 C.9.2), from its own data or from unused bits of the pixel data.

        Raises:
            ValueError: The overlay has no data, or too little.

        """
        dataset = self.header.dataset
        if (group, 0x3000) in dataset:
            load_deferred(self.header, group << 16 | 0x3000)
            element = dataset[group, 0x3000]
            data = element.value
            if self.header.byte_order == "big" and element.VR == "OW":
                data = _swap_pairs(data)
            start = index * rows * columns
            bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[start : start + rows * columns]
            if len(bits) < rows * columns:
                raise ValueError("its data are too short")
            return bits.reshape(rows, columns).astype(np.bool_)
        position = get_int(dataset, (group, 0x0102), 0)
        if self._words is None or self._words.dtype.kind not in "ui" or self._words.shape != (rows, columns):
            raise ValueError("it has no data")
        if self.high_bit - self.bits_stored < position <= self.high_bit:
            raise ValueError("its bit belongs to the pixel values")
        return (self._words >> position & 1).astype(np.bool_)


def _swap_pairs(data: bytes) -> bytes:
    """Swap the bytes of every 16-bit word."""
    even = len(data) // 2 * 2
    return np.frombuffer(data[:even], "<u2").byteswap().tobytes() + data[even:]


def _has_decoder(syntax: str) -> bool:
    try:
        decoder = get_decoder(uid.UID(syntax))
    except NotImplementedError:
        return False
    return decoder.is_available and uid.UID(syntax).is_encapsulated


def _iter_segments(codestream: bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and position of the segments of a JPEG codestream, up to the first scan."""
    position = 2
    while position + 5 < len(codestream) and codestream[position] == 0xFF:
        marker = codestream[position + 1]
        yield marker, position
        if marker == START_OF_SCAN:
            return
        position += 2 + int.from_bytes(codestream[position + 2 : position + 4], "big")


def _repair_scan_header(codestream: bytes) -> bytes:
    """Return a sequential JPEG with the spectral selection 0 to 63 that some writers leave at 0 to 0."""
    segments = dict(_iter_segments(codestream))
    if START_OF_SCAN in segments and segments.keys() & {0xC0, 0xC1}:
        start = segments[START_OF_SCAN]
        end = start + 2 + int.from_bytes(codestream[start + 2 : start + 4], "big")
        return codestream[: end - 3] + b"\0\x3f\0" + codestream[end:]
    return codestream


def detect_syntax(codestream: bytes) -> str:
    """Return the transfer syntax that a codestream looks like; RLE where it is not a JPEG format."""
    if codestream.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")):
        return uid.JPEG2000
    if not codestream.startswith(b"\xff\xd8"):
        return uid.RLELossless
    for marker, position in _iter_segments(codestream):
        if marker == 0xF7:
            return uid.JPEGLSLossless
        if marker == 0xC3:
            return uid.JPEGLosslessSV1
        if marker in (0xC0, 0xC1, 0xC2):
            return uid.JPEGBaseline8Bit if codestream[position + 4] == 8 else uid.JPEGExtended12Bit
    return uid.JPEGBaseline8Bit
