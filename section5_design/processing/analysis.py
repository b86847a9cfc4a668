"""From an instance to its result: the one place that a site changes.

`analyse` is given the instance's file and returns figures, which become JSON, and a preview picture as PNG, or none.
Frame by frame, so that hundreds of frames take the memory of one.
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

from archive.sealing import SealBrokenError

BINS = 256
LARGEST_FRAME = 1 << 30  # bytes of a decoded frame; a header that claims more is not believed
PREVIEW = 512  # pixels of the longer side
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


class UnprocessableError(Exception):
    """The instance cannot be analysed, now or later; the message says why, without patient data."""


@dataclass
class Moments:
    """Count, extremes, sum and sum of squares of what was seen, and from them what sections 3 and 4 speak of."""

    count: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    total: float = 0.0
    squares: float = 0.0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[Any], limits: tuple[float, float]) -> None:
        """See more values; the histogram's bins lie between the limits."""
        self.count += values.size
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        self.total += float(values.sum(dtype=np.float64))
        self.squares += float(np.square(values, dtype=np.float64).sum())
        self.histogram += np.histogram(values, BINS, limits)[0]

    def merge(self, other: "Moments") -> None:
        """See what another saw."""
        self.count += other.count
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.total, self.squares = self.total + other.total, self.squares + other.squares
        self.histogram += other.histogram

    def figures(self) -> dict[str, float | int]:
        """The averages are of stored values before, and after normalisation to 0 to 1.

        That is by the maximum, as sections 3 and 4 have it; where values are negative, by minimum and maximum.
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
    """Figures and preview of an instance.

    Raises:
        UnprocessableError: its pixels cannot be decoded.
        MemoryError: a frame needs more memory than the process may have.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pydicom finds odd, its decoder decides
            return _analyse(file)
    except (UnprocessableError, SealBrokenError, MemoryError, OSError):
        raise
    except Exception as error:
        # Decoders raise whatever their C code reports; none of it passes by trying again.
        raise UnprocessableError(f"its pixels cannot be decoded ({type(error).__name__})") from error


def _analyse(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    header = pydicom.dcmread(file, force=True, defer_size=1024)
    file.seek(0)
    if not any(keyword in header for keyword in PIXELS):
        return {"pixel_data": False}, b""
    check_claims(header)
    limits = value_limits(header)
    frames: list[dict[str, float | int]] = []
    whole = Moments()
    wanted = int(header.get("NumberOfFrames") or 1) // 2
    picture = b""
    for number, frame in enumerate(frames_of(file)):
        seen = Moments()
        if number == 0 and (frame.dtype.kind == "f" or int(header.get("NumberOfFrames") or 1) == 1):
            limits = (float(np.nanmin(frame)), float(np.nanmax(frame)))  # of several frames the header's limits serve
        seen.add(frame, limits)
        whole.merge(seen)
        frames.append(seen.figures())
        if number == wanted:
            picture = preview(frame, header)
    figures: dict[str, Any] = {"pixel_data": True, **whole.figures(), "number_of_frames": len(frames)}
    figures["histogram"] = {"from": limits[0], "to": limits[1], "counts": whole.histogram.tolist()}
    figures["frames"] = frames
    return figures, picture


def frames_of(file: BinaryIO) -> Iterator[NDArray[Any]]:
    """The frames, decoded one at a time, as stored: rows, columns and, of colour, samples."""
    yield from iter_pixels(file, raw=True)


def check_claims(header: Dataset) -> None:
    """Refuse a header that claims a frame beyond all reason, before anything is made ready for it."""
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    size = rows * columns * int(header.get("SamplesPerPixel") or 1) * int(header.get("BitsAllocated") or 8) // 8
    if size <= 0:
        raise UnprocessableError("its header gives the pixels no rows or no columns")
    if size > LARGEST_FRAME:
        raise UnprocessableError(f"its header claims {size:,} bytes a frame; at most {LARGEST_FRAME:,} are decoded")


def value_limits(header: Dataset) -> tuple[float, float]:
    """The range that stored values can have (PS3.3, C.7.6.3.1)."""
    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 8)
    if header.get("PixelRepresentation") == 1:
        return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1))
    return (0.0, 2.0**bits)


def preview(frame: NDArray[Any], header: Dataset) -> bytes:
    """A frame as PNG of at most 512 pixels a side: colour as it is, grey by the file's first window or its extremes."""
    step = max(1, max(frame.shape[:2]) // PREVIEW)
    frame = frame[::step, ::step]
    if frame.ndim == 2:
        frame = windowed(frame, header)
    elif frame.dtype != np.uint8:
        frame = (frame / max(1, int(frame.max())) * 255).astype(np.uint8)
    if frame.ndim == 3 and str(header.get("PhotometricInterpretation", "")).startswith("YBR"):
        picture = Image.fromarray(frame, "YCbCr").convert("RGB")
    else:
        picture = Image.fromarray(frame)
    picture.thumbnail((PREVIEW, PREVIEW))
    target = io.BytesIO()
    picture.save(target, "PNG", compress_level=1)  # a quarter larger, and three times as quick
    return target.getvalue()


def windowed(frame: NDArray[Any], header: Dataset) -> NDArray[np.uint8]:
    """Grey values from 0 to 255 (PS3.3, C.11.2)."""
    values = frame * float(header.get("RescaleSlope") or 1) + float(header.get("RescaleIntercept") or 0)
    if header.get("WindowWidth") is not None and header.get("WindowCenter") is not None:
        values = apply_voi_lut(values, header)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255 / (high - low) if high > low else 0)
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        scaled = 255 - scaled
    return scaled.astype(np.uint8)
