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
from pydicom.pixels import apply_voi_lut, iter_pixels

from analysis.contract import UnprocessableError
from archive.encryption import ObjectIntegrityError

BINS = 256
MAX_FRAME_BYTES = 1 << 30  # bytes of a decoded frame; a header that claims more is rejected
PREVIEW = 512  # pixels of the longer side
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass
class Moments:
    """Count, extremes, sum, sum of squares and histogram of values, mergeable over frames."""

    count: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    total: float = 0.0
    squares: float = 0.0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[Any], limits: tuple[float, float]) -> None:
        """Add values; the histogram's bins divide the range between the limits."""
        self.count += values.size
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        self.total += float(values.sum(dtype=np.float64))
        self.squares += float(np.square(values, dtype=np.float64).sum())
        self.histogram += np.histogram(values, BINS, limits)[0]

    def merge(self, other: "Moments") -> None:
        """Add the values of another."""
        self.count += other.count
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.total, self.squares = self.total + other.total, self.squares + other.squares
        self.histogram += other.histogram

    def figures(self) -> dict[str, float | int]:
        """Return the statistics, with the average before and after normalisation to the range 0 to 1.

        Values are normalised by the maximum; if some are negative, by minimum and maximum.
        """
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
        }


def analyse(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Analyse an instance; return figures and a preview.

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
    header = pydicom.dcmread(file, force=True, defer_size=1024)
    file.seek(0)
    if not any(keyword in header for keyword in PIXELS):
        return {"pixel_data": False}, b""
    check_claims(header)
    limits = value_limits(header)
    frames: list[dict[str, float | int]] = []
    total = Moments()
    preview_frame = int(header.get("NumberOfFrames") or 1) // 2
    image = b""
    for number, frame in enumerate(iter_frames(file)):
        seen = Moments()
        if number == 0 and (frame.dtype.kind == "f" or int(header.get("NumberOfFrames") or 1) == 1):
            limits = (float(np.nanmin(frame)), float(np.nanmax(frame)))  # of several frames the header's limits serve
        seen.add(frame, limits)
        total.merge(seen)
        frames.append(seen.figures())
        if number == preview_frame:
            image = preview(frame, header)
    figures: dict[str, Any] = {"pixel_data": True, **total.figures(), "number_of_frames": len(frames)}
    figures["histogram"] = {"from": limits[0], "to": limits[1], "counts": total.histogram.tolist()}
    figures["frames"] = frames
    return figures, image


def iter_frames(file: BinaryIO) -> Iterator[NDArray[Any]]:
    """Decode the stored frames one at a time: rows, columns and, for colour, samples."""
    yield from iter_pixels(file, raw=True)


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


def preview(frame: NDArray[Any], header: Dataset) -> bytes:
    """Render a frame as PNG, at most 512 pixels a side; grey values by the file's first window or the extremes."""
    step = max(1, max(frame.shape[:2]) // PREVIEW)
    frame = frame[::step, ::step]
    if frame.ndim == 2:
        frame = apply_window(frame, header)
    elif frame.dtype != np.uint8:
        frame = (frame / max(1, int(frame.max())) * 255).astype(np.uint8)
    if frame.ndim == 3 and str(header.get("PhotometricInterpretation", "")).startswith("YBR"):
        image = Image.fromarray(frame, "YCbCr").convert("RGB")
    else:
        image = Image.fromarray(frame)
    image.thumbnail((PREVIEW, PREVIEW))
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=1)  # a quarter larger, three times as fast
    return target.getvalue()


def apply_window(frame: NDArray[Any], header: Dataset) -> NDArray[np.uint8]:
    """Map values to grey levels 0 to 255 (PS3.3, C.11.2)."""
    values = frame * float(header.get("RescaleSlope") or 1) + float(header.get("RescaleIntercept") or 0)
    if header.get("WindowWidth") is not None and header.get("WindowCenter") is not None:
        values = apply_voi_lut(values, header)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255 / (high - low) if high > low else 0)
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        scaled = 255 - scaled
    return scaled.astype(np.uint8)
