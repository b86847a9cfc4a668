"""The default analysis: statistics of the stored values, a histogram, and a preview.

`analyse` receives the instance's file and returns figures, which become JSON, and a preview as PNG or nothing. It reads
frame by frame, so that hundreds of frames take the memory of one.
"""

import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels

from analysis.contract import Context, UnprocessableError
from analysis.windowing import decode_frame, render_values, splits_bytes, unpack_frame
from archive.encryption import ObjectIntegrityError

VERSION = "2"
BINS = 256
MAX_FRAME_BYTES = 1 << 30  # bytes of a decoded frame; a header that claims more is rejected
PREVIEW = 512  # pixels of the longer side
MAX_LOADED = 16 << 20  # bytes of a file that is parsed once, pixels included; of larger ones frames are read singly
MAX_COUNTED = 1 << 16  # different integers that are counted one by one
BLOCK = 1 << 18  # values counted at a time
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass
class Moments:
    """Count, extremes, sum, sum of squares and histogram of values, mergeable over frames."""

    count: int = 0
    not_finite: int = 0  # NaN and infinite values, which are counted and left out
    minimum: float = math.inf
    maximum: float = -math.inf
    total: float = 0.0
    squares: float = 0.0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[Any], limits: tuple[float, float]) -> None:
        """Add values; the histogram's bins divide the range between the limits."""
        if values.dtype.kind == "f":
            finite = values[np.isfinite(values)]
            self.not_finite += values.size - finite.size
            values = finite
        if not values.size:
            return
        counts = None
        low, high = values.min(), values.max()
        if values.dtype.kind in "iu" and int(high) - int(low) < min(values.size, MAX_COUNTED):
            values, counts = count_values(values, int(low), int(high))
        self.count += values.size if counts is None else int(counts.sum())
        self.minimum = min(self.minimum, float(low))
        self.maximum = max(self.maximum, float(high))
        self.total += weighted_sum(values, counts)
        self.squares += weighted_sum(np.square(values, dtype=np.float64), counts)
        self.histogram += np.histogram(values, BINS, limits, weights=counts)[0]

    def merge(self, other: "Moments") -> None:
        """Add the values of another."""
        self.count += other.count
        self.not_finite += other.not_finite
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.total, self.squares = self.total + other.total, self.squares + other.squares
        self.histogram += other.histogram

    def figures(self) -> dict[str, float | int]:
        """Return the statistics, with the average before and after normalisation to the range 0 to 1.

        Values are normalised by the maximum; if some are negative, by minimum and maximum.
        """
        unusable = {"not_finite": self.not_finite} if self.not_finite else {}
        if not self.count:
            return {"data_size": 0, **unusable}
        mean = self.total / self.count
        low = min(self.minimum, 0.0)
        span = self.maximum - low
        return {
            "average_before_normalization": mean,
            "average_after_normalization": (mean - low) / span if span else 0.0,
            "data_size": self.count,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "standard_deviation": math.sqrt(max(0.0, self.squares / self.count - mean * mean)),  # population
            **unusable,
        }


def count_values(values: NDArray[Any], low: int, high: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each integer from low to high, and how often it occurs: one pass, where a histogram takes several."""
    counts = np.zeros(high - low + 1, np.int64)
    flat = values.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        counts += np.bincount(flat[start : start + BLOCK].astype(np.int64) - low, minlength=counts.size)
    return np.arange(low, high + 1), counts


def weighted_sum(values: NDArray[Any], counts: NDArray[np.int64] | None) -> float:
    """Return the sum of values, each taken as often as it occurs."""
    return float(values.sum(dtype=np.float64) if counts is None else np.dot(values.astype(np.float64), counts))


def analyse(file: BinaryIO, context: Context) -> tuple[dict[str, Any], bytes]:  # noqa: ARG001
    """Analyse an instance; return figures and a preview. It needs no context.

    Raises:
        UnprocessableError: its pixels cannot be decoded.
        MemoryError: a frame needs more memory than the process may have.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the decoder decides what matters
            return _analyse(file)
    except (UnprocessableError, ObjectIntegrityError, MemoryError, OSError):
        raise
    except Exception as error:
        # Decoders raise whatever their C code reports; a retry does not help.
        raise UnprocessableError(f"its pixels cannot be decoded ({type(error).__name__})") from error


def _analyse(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    is_small = file.seek(0, io.SEEK_END) <= MAX_LOADED
    file.seek(0)
    header = pydicom.dcmread(file, force=True, defer_size=None if is_small else 1024)
    file.seek(0)
    if not any(keyword in header for keyword in PIXELS):
        return {"pixel_data": False}, b""
    check_claims(header)
    is_loaded = is_small and not splits_bytes(header)
    limits = value_limits(header)
    frames: list[dict[str, float | int]] = []
    total = Moments()
    preview_index, preview_frame = int(header.get("NumberOfFrames") or 1) // 2, None
    for number, frame in enumerate(iter_pixels(header, raw=True) if is_loaded else iter_frames(file, header)):
        if number == 0 and (frame.dtype.kind == "f" or int(header.get("NumberOfFrames") or 1) == 1):
            limits = find_limits(frame)  # for several frames the header's limits are used
        seen = Moments()
        seen.add(frame, limits)
        total.merge(seen)
        frames.append(seen.figures())
        if number == preview_index:
            preview_frame = frame
    figures: dict[str, Any] = {"pixel_data": True, **total.figures(), "number_of_frames": len(frames)}
    figures["histogram"] = {"from": limits[0], "to": limits[1], "counts": total.histogram.tolist()}
    figures["frames"] = frames
    preview = b"" if preview_frame is None else build_preview(file, preview_frame, preview_index, header)
    return figures, preview


def find_limits(frame: NDArray[Any]) -> tuple[float, float]:
    """Return the extremes of the finite values."""
    finite = frame[np.isfinite(frame)] if frame.dtype.kind == "f" else frame
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def iter_frames(file: BinaryIO, header: Dataset) -> Iterator[NDArray[Any]]:
    """Decode the stored frames one at a time: rows, columns and, for colour, samples."""
    if splits_bytes(header):
        dataset = pydicom.dcmread(file, force=True)
        yield from (unpack_frame(dataset, index) for index in range(int(header.get("NumberOfFrames") or 1)))
        return
    frames = iter_pixels(file, raw=True)
    try:
        first = next(frames)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # pydicom decodes some files only from a data set: deflated ones, odd JPEG
        file.seek(0)
        yield from iter_pixels(pydicom.dcmread(file, force=True), raw=True)
        return
    yield first
    yield from frames


def check_claims(header: Dataset) -> None:
    """Reject a header that claims an unreasonable frame size, before memory is allocated for it."""
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    size = rows * columns * int(header.get("SamplesPerPixel") or 1) * int(header.get("BitsAllocated") or 8) // 8
    if size <= 0:
        raise UnprocessableError("its header has no rows or no columns")
    if size > MAX_FRAME_BYTES:
        raise UnprocessableError(f"its header claims {size:,} bytes a frame; at most {MAX_FRAME_BYTES:,} are decoded")


def value_limits(header: Dataset) -> tuple[float, float]:
    """Return the range of stored values by the header (PS3.3, C.7.6.3.1)."""
    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 8)
    if header.get("PixelRepresentation") == 1:
        return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1))
    return (0.0, 2.0**bits)


def build_preview(file: BinaryIO, frame: NDArray[Any], index: int, header: Dataset) -> bytes:
    """Render a frame as PNG, at most 512 pixels a side; grey values by the file's first window or the extremes."""
    if frame.ndim == 3:  # the stored samples may be YBR; this decodes to RGB
        file.seek(0)
        frame = decode_frame(file, index)
    step = max(1, max(frame.shape[:2]) // PREVIEW)
    image = Image.fromarray(render_values(frame[::step, ::step], header))
    image.thumbnail((PREVIEW, PREVIEW))
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=1)  # a quarter larger, three times as fast
    return target.getvalue()
