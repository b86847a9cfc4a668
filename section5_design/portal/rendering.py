"""Render a frame through the window that a reader chooses (PS3.3, C.11.2.1.2)."""

import io
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, pixel_array

from archive.encryption import ObjectIntegrityError

MAX_FRAME_BYTES = 256 << 20  # bytes of a decoded frame that is shown; a larger one has its preview only
HEADER = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames", "WindowCenter", "WindowWidth")


class RenderingError(Exception):
    """The frame cannot be rendered."""


@dataclass(frozen=True)
class Window:
    """Centre and width, in the units of the rescaled values (of CT: Hounsfield units)."""

    center: float
    width: float


def render(file: BinaryIO, frame: int, window: Window | None) -> bytes:
    """Render a frame, counted from 0, as PNG; the default is the file's first window, else the extremes.

    Raises:
        RenderingError: there is no such frame, or it is too large, or cannot be decoded.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(file, force=True, defer_size=1024)
            check(header, frame)
            file.seek(0)
            values = pixel_array(file, index=frame)
            picture = values if values.ndim == 3 else apply_window(values, header, window)
    except (RenderingError, ObjectIntegrityError):
        raise
    except Exception as error:
        raise RenderingError(f"cannot be decoded ({type(error).__name__})") from error
    if picture.dtype != np.uint8:
        picture = (picture / max(1, int(picture.max())) * 255).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(picture).save(target, "PNG", compress_level=1)
    return target.getvalue()


def check(header: Dataset, frame: int) -> None:
    """Reject missing and too large frames."""
    if not 0 <= frame < int(header.get("NumberOfFrames") or 1):
        raise RenderingError("there is no such frame")
    size = int(header.get("Rows") or 0) * int(header.get("Columns") or 0) * int(header.get("SamplesPerPixel") or 1)
    if not 0 < size * (int(header.get("BitsAllocated") or 8) // 8 or 1) <= MAX_FRAME_BYTES:
        raise RenderingError("is too large to be shown here")


def apply_window(values: NDArray[Any], header: Dataset, window: Window | None) -> NDArray[np.uint8]:
    """Map values to grey levels 0 to 255."""
    rescaled = np.asarray(apply_modality_lut(values, header), np.float64)
    window = window or find_window(header) or full_window(rescaled)
    width = max(window.width, 1.0)
    scaled = (rescaled - (window.center - 0.5)) / max(width - 1, 1e-6) + 0.5
    shown = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return 255 - shown if header.get("PhotometricInterpretation") == "MONOCHROME1" else shown


def find_window(header: Dataset) -> Window | None:
    """Return the file's first window."""
    center, width = (header.get(keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if center is None or width is None:
        return None
    try:
        first = [
            float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value) for value in (center, width)
        ]
    except (TypeError, ValueError, IndexError):
        return None
    return Window(*first)


def full_window(values: NDArray[np.float64]) -> Window:
    """Return a window over the complete range."""
    low, high = float(values.min()), float(values.max())
    return Window((low + high) / 2 + 0.5, high - low + 1)


def scale(file: BinaryIO, minimum: float, maximum: float) -> tuple[Window, float, float]:
    """Return the initial window and the range of rescaled values, by the stored extremes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(file, force=True, defer_size=1024)
        values = apply_modality_lut(np.array([[minimum, maximum]]).astype(np.int64), header)
    low, high = sorted((float(values.min()), float(values.max())))
    return find_window(header) or Window((low + high) / 2 + 0.5, high - low + 1), low, high
