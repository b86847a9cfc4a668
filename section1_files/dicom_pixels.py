"""Decode the stored pixel values of one frame (PS3.5 section 8 and annex A.4)."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.tag import TagType

from dicom_header import UNDEFINED, Header, load_deferred, open_dicom
from errors import InputError

MAX_SAMPLES = 1 << 28  # of a frame
FLOAT_BITS = {0x7FE00008: 32, 0x7FE00009: 64}
SAMPLES = dict.fromkeys(["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"], 1) | dict.fromkeys(
    ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"], 3
)
UNCOMPRESSED_YBR = {"YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"}
START_OF_SCAN = 0xDA
GE_PRIVATE = "1.2.840.113619.5.2"  # implicit little endian, with big-endian pixels


def get_number(dataset: Dataset, key: TagType, default: float) -> float:
    """Return the first value of an element as a number; `default` where it is absent, invalid or not finite."""
    try:
        value = dataset[key].value
        if isinstance(value, bytes) and len(value) in (2, 4):  # an unknown VR
            value = int.from_bytes(value, "little")
        elif not isinstance(value, (str, bytes)) and hasattr(value, "__getitem__"):
            value = value[0]
        number = float(str(value).strip(" \0"))
    except Exception:  # noqa: BLE001 (pydicom raises many types for a damaged value)
        return default
    return number if math.isfinite(number) else default


def get_text(dataset: Dataset, key: TagType) -> str:
    """Return the value of an element as text without padding; empty where it is absent or invalid."""
    try:
        value = dataset[key].value
    except Exception:  # noqa: BLE001 (pydicom raises many types for a damaged value)
        return ""
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value or "")).strip(" \0")


class PixelReader:
    """Read frames of stored values; `remark` receives remarks about missing or assumed values."""

    def __init__(self, header: Header, remark: Callable[[str], None]) -> None:
        self.header, self._remark, dataset = header, remark, header.dataset
        if not header.pixels:
            raise InputError(header.path, "holds no pixels")

        def integer(keyword: str, default: int = 0) -> int:
            return int(get_number(dataset, keyword, default))

        self.rows, self.columns = integer("Rows"), integer("Columns")
        if self.rows <= 0 or self.columns <= 0:
            raise InputError(header.path, "its pixels cannot be decoded (no rows or columns)")
        self.tag = max(header.pixels)
        self.element = header.pixels[self.tag]
        self.frames = max(1, integer("NumberOfFrames", 1))
        self.photometric = get_text(dataset, "PhotometricInterpretation")
        self.samples = integer("SamplesPerPixel", SAMPLES.get(self.photometric, 1))
        if not self.photometric:
            self.photometric = "MONOCHROME2" if self.samples == 1 else "RGB"
            remark(f"photometric interpretation missing; {self.photometric} assumed")
        self.planar = integer("PlanarConfiguration")
        self.allocated = FLOAT_BITS.get(self.tag) or integer("BitsAllocated", 8)
        self.bits_stored = min(integer("BitsStored", self.allocated), self.allocated) or self.allocated
        self.high_bit = integer("HighBit", self.bits_stored - 1)
        if not self.bits_stored - 1 <= self.high_bit < self.allocated:
            self.high_bit = self.bits_stored - 1
        self.signed = integer("PixelRepresentation") == 1
        self.syntax = get_text(dataset.file_meta, "TransferSyntaxUID")
        self._words: NDArray[Any] | None = None

    def read_frame(self, frame: int) -> NDArray[Any]:
        """Return the values of a frame, from 1, as (rows, columns), or as RGB (rows, columns, 3)."""
        if SAMPLES.get(self.photometric) != self.samples:
            raise ValueError(f"{self.photometric} with {self.samples} samples per pixel is not supported")
        if self.rows * self.columns * self.samples > MAX_SAMPLES:
            raise ValueError(f"a frame of more than {MAX_SAMPLES:,} samples")
        if self.element.length == UNDEFINED:
            return self._read_encapsulated(frame)
        if self.photometric.startswith("YBR") and self.photometric not in UNCOMPRESSED_YBR:
            raise ValueError(f"uncompressed {self.photometric} is not supported")
        self._words = words = self._read_native(frame)
        if self.tag in FLOAT_BITS:
            return words
        values = self._extract(words)
        return self._to_rgb(values) if self.photometric in UNCOMPRESSED_YBR else values

    def _to_rgb(self, values: NDArray[Any]) -> NDArray[Any]:
        """Convert YBR to RGB (PS3.3 C.7.6.3.1.2); YBR_PARTIAL has a luminance from 16 to 235 and chroma to 240."""
        unit, maximum = 2.0 ** (self.bits_stored - 8), (1 << self.bits_stored) - 1
        y, cb, cr = np.moveaxis(values.astype(np.float64), -1, 0)
        cb, cr = cb - 128 * unit, cr - 128 * unit
        if self.photometric == "YBR_PARTIAL_422":
            y, cb, cr = (y - 16 * unit) * 255 / 219, cb * 255 / 224, cr * 255 / 224
        rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
        return np.asarray(np.clip(np.rint(rgb), 0, maximum), np.int64)

    def _read_native(self, frame: int) -> NDArray[Any]:
        """Return the words of an uncompressed frame as (rows, columns) or (rows, columns, samples)."""
        rows, columns, allocated = self.rows, self.columns, self.allocated
        is_subsampled = self.photometric.endswith("_422")
        if not 1 <= allocated <= 64:
            raise ValueError(f"{allocated} bits allocated")
        count = rows * columns * (2 if is_subsampled else self.samples)
        bits, length = count * allocated, self.element.length
        needed = (self.frames * bits + 15) // 16 * 2
        if length > needed:
            self._remark(f"the pixel data are {length - needed:,} bytes longer than its frames need")
        first, end = (frame - 1) * bits // 16 * 2, (frame * bits + 7) // 8
        with open_dicom(self.header.path) as stream:
            stream.seek(self.element.value_tell + first)
            data = stream.read(max(0, min(end + end % 2, length) - first))
        if not data:
            raise ValueError(f"the pixel data end before frame {frame}")
        if missing := max(0, end - first - len(data)):
            self._remark(f"the pixel data are too short: {missing:,} bytes of frame {frame} are missing and shown as 0")
            data += bytes(missing + 1)
        order = ">" if self.header.byte_order == "big" or self.syntax == GE_PRIVATE else "<"
        if order == ">" and self.element.VR == "OW" and allocated not in (16, 32, 64):
            data = swap_pairs(data)
        if allocated in (8, 16, 32, 64):
            kind = "f" if self.tag in FLOAT_BITS else "u"
            words = np.frombuffer(data, f"{order}{kind}{allocated // 8}", count, (frame - 1) * bits // 8 - first)
        else:
            packed = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[(frame - 1) * bits - first * 8 :]
            words = packed[:bits].reshape(count, allocated) @ (1 << np.arange(allocated, dtype=np.int64))
        if is_subsampled:  # Y1 Y2 Cb Cr for two pixels
            return words.reshape(-1, 4)[:, [0, 2, 3, 1, 2, 3]].reshape(rows, columns, 3)
        if self.samples == 1:
            return words.reshape(rows, columns)
        if self.planar == 1:
            return words.reshape(self.samples, rows, columns).transpose(1, 2, 0)
        return words.reshape(rows, columns, self.samples)

    def _extract(self, words: NDArray[Any]) -> NDArray[Any]:
        """Return the stored values in the words (PS3.5 8.1.1): shifted, masked, sign extended."""
        values = words.astype(np.int64) >> (self.high_bit + 1 - self.bits_stored)
        values &= (1 << min(self.bits_stored, 63)) - 1
        if self.signed and self.bits_stored < 64:
            values -= (values >> (self.bits_stored - 1)) << self.bits_stored
        return values

    def _read_encapsulated(self, frame: int) -> NDArray[Any]:
        """Decode a compressed frame by its transfer syntax, or by the one that its bytes look like."""
        with open_dicom(self.header.path) as stream:
            stream.seek(self.element.value_tell)
            codestream = get_frame(stream, frame - 1, number_of_frames=self.frames)
        syntaxes = [syntax for syntax in dict.fromkeys((self.syntax, detect_syntax(codestream))) if _can_decode(syntax)]
        if not syntaxes:
            name = uid.UID(self.syntax).name if self.syntax else "missing transfer syntax"
            raise ValueError(f"no decoder for {name}")
        for syntax in syntaxes[:-1]:
            with suppress(Exception):
                return self._decode(codestream, uid.UID(syntax))
        return self._decode(codestream, uid.UID(syntaxes[-1]))

    def _decode(self, codestream: bytes, syntax: uid.UID) -> NDArray[Any]:
        is_rle = syntax == uid.RLELossless  # its words may hold overlay bits
        is_deep_ybr = self.photometric in UNCOMPRESSED_YBR and self.bits_stored > 8  # pydicom converts 8 bits only
        options: dict[str, Any] = {
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples,
            "photometric_interpretation": self.photometric,
            "bits_allocated": self.allocated,
            "bits_stored": self.allocated if is_rle and self.samples == 1 else self.bits_stored,
            "pixel_representation": 0 if is_rle else int(self.signed),
            "planar_configuration": self.planar,
            "number_of_frames": 1,
            "pixel_keyword": "PixelData",
            "pixel_vr": "OB",
            "as_rgb": not is_deep_ybr,
        }
        if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
            codestream = _repair_scan_header(codestream)
        plugin = "pydicom" if is_rle else ""  # pylibjpeg-rle panics on damaged data
        values, _ = get_decoder(syntax).as_array(encapsulate([codestream]), index=0, decoding_plugin=plugin, **options)
        if values.ndim == 2:
            self._words = values
            return self._extract(values) if is_rle else values
        return self._to_rgb(values) if is_deep_ybr else values

    def read_overlay(self, group: int, rows: int, columns: int, index: int) -> NDArray[np.bool_]:
        """Return an overlay plane (PS3.3 C.9.2), from its own data or from unused bits of the pixel data."""
        dataset = load_deferred(self.header, group << 16 | 0x3000)
        if (group, 0x3000) in dataset:
            element = dataset[group, 0x3000]
            is_swapped = self.header.byte_order == "big" and element.VR == "OW"
            data = swap_pairs(element.value) if is_swapped else element.value
            size = rows * columns
            bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[index * size :][:size]
            if len(bits) < size:
                raise ValueError("its data are too short")
            return bits.reshape(rows, columns).astype(np.bool_)
        position = int(get_number(dataset, (group, 0x0102), 0))
        if self._words is None or self._words.dtype.kind not in "ui" or self._words.shape != (rows, columns):
            raise ValueError("it has no data")
        if self.high_bit - self.bits_stored < position <= self.high_bit:
            raise ValueError("its bit belongs to the pixel values")
        return (self._words >> position & 1).astype(np.bool_)


def swap_pairs(data: bytes) -> bytes:
    """Swap the bytes of every 16-bit word."""
    even = len(data) // 2 * 2
    return np.frombuffer(data[:even], "<u2").byteswap().tobytes() + data[even:]


def _can_decode(syntax: str) -> bool:
    try:
        return uid.UID(syntax).is_encapsulated and get_decoder(uid.UID(syntax)).is_available
    except (ValueError, NotImplementedError):
        return False


def _find_segments(codestream: bytes) -> dict[int, int]:
    """Return the markers of a JPEG codestream with their positions, up to the first scan."""
    segments: dict[int, int] = {}
    position = 2
    while START_OF_SCAN not in segments and codestream[position : position + 1] == b"\xff":
        segments[codestream[position + 1]] = position
        position += 2 + int.from_bytes(codestream[position + 2 : position + 4], "big")
    return segments


def _repair_scan_header(codestream: bytes) -> bytes:
    """Return a sequential JPEG with the spectral selection 0 to 63 that some writers leave at 0 to 0."""
    segments = _find_segments(codestream)
    start = segments.get(START_OF_SCAN)
    if start is None or not segments.keys() & {0xC0, 0xC1}:
        return codestream
    end = start + 2 + int.from_bytes(codestream[start + 2 : start + 4], "big")
    return codestream[: end - 3] + b"\0\x3f\0" + codestream[end:]


def detect_syntax(codestream: bytes) -> str:
    """Return the transfer syntax that a codestream looks like; RLE where it is not a JPEG format."""
    if codestream.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")):
        return uid.JPEG2000
    if not codestream.startswith(b"\xff\xd8"):
        return uid.RLELossless
    segments = _find_segments(codestream)
    if 0xF7 in segments:
        return uid.JPEGLSLossless
    if 0xC3 in segments:
        return uid.JPEGLosslessSV1
    frame = next((segments[marker] for marker in (0xC0, 0xC1, 0xC2) if marker in segments), None)
    return uid.JPEGBaseline8Bit if frame is None or codestream[frame + 4] == 8 else uid.JPEGExtended12Bit
