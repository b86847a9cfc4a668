"""From stored values to a picture: windowing (PS3.3, C.11.2), palettes (C.7.9) and colour, in little memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

BLOCK = 1 << 18  # values converted at a time
MAX_TABLE = 1 << 16  # different values


@dataclass(frozen=True)
class Window:
    """Centre and width, in the units of the rescaled values (of CT: Hounsfield units)."""

    center: float
    width: float
    function: str = "linear"  # or linear-exact, sigmoid (PS3.3, C.11.2.1.2 and .3)


def decode_frame(file: BinaryIO, index: int) -> NDArray[Any]:
    """Decode one frame, colour as RGB; some encodings pydicom decodes only from a data set."""
    try:
        return pixel_array(file, index=index)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # its decoders raise all kinds of errors
        file.seek(0)
        dataset = pydicom.dcmread(file, force=True)
        return unpack_frame(dataset, index) if splits_bytes(dataset) else pixel_array(dataset, index=index)


def splits_bytes(header: Dataset) -> bool:
    """Return whether frames of single bits begin and end inside of bytes, as those of segmentations may.

    pydicom 3.0.2 decodes such frames all at once only, not one by one.
    """
    pixels = int(header.get("Rows") or 0) * int(header.get("Columns") or 0)
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    return header.get("BitsAllocated") == 1 and pixels % 8 != 0 and not (syntax and syntax.is_encapsulated)


def unpack_frame(dataset: Dataset, index: int) -> NDArray[np.uint8]:
    """Unpack a frame of single bits (PS3.5, 8.1.1).

    Raises:
        ValueError: it is truncated.

    """
    size = dataset.Rows * dataset.Columns
    first, shift = divmod(index * size, 8)
    packed = np.frombuffer(dataset.PixelData, np.uint8)[first : (index * size + size + 7) // 8]
    bits: NDArray[np.uint8] = np.unpackbits(packed, bitorder="little")[shift : shift + size]
    return bits.reshape(dataset.Rows, dataset.Columns)


def render_values(values: NDArray[Any], header: Dataset, window: Window | None = None) -> NDArray[np.uint8]:
    """Map the values of a frame to 8 bits: rows and columns, and for colour three samples.

    Args:
        values: a decoded frame.
        header: its attributes.
        window: for grey values; the default is the file's first window, else the complete range.

    """
    if values.ndim == 3:
        return to_bytes(values)
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        parts = [to_bytes(apply_color_lut(block, header), 16) for block in iter_blocks(values)]
        return np.concatenate(parts)
    window = window or find_window(header) or full_window(values, header)
    if values.dtype.kind in "iu" and values.size and values.itemsize <= 4:
        low, high = int(values.min()), int(values.max())
        if high - low < min(values.size, MAX_TABLE):  # each different value is mapped once
            return render_grey(np.arange(low, high + 1), header, window)[values.astype(np.int64) - low]
    return np.concatenate([render_grey(block, header, window) for block in iter_blocks(values)])


def render_grey(values: NDArray[Any], header: Dataset, window: Window) -> NDArray[np.uint8]:
    """Map grey values to 8 bits; NaN becomes the darkest."""
    scaled = np.clip(apply_window(rescale(values, header), window), 0, 1)
    shown = (np.nan_to_num(scaled, nan=0.0) * 255).astype(np.uint8)
    return 255 - shown if header.get("PhotometricInterpretation") == "MONOCHROME1" else shown


def apply_window(values: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
    """Map rescaled values to 0 to 1; linear windows reach beyond it."""
    if window.function == "sigmoid":
        return 1 / (1 + np.exp(np.clip(-4 * (values - window.center) / window.width, -700, 700)))
    if window.function == "linear-exact":
        return (values - window.center) / window.width + 0.5
    return (values - (window.center - 0.5)) / max(window.width - 1, 1e-6) + 0.5


def iter_blocks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Split a frame into blocks of rows."""
    rows = max(1, BLOCK // max(1, values.shape[1]))
    return (values[start : start + rows] for start in range(0, len(values), rows))


def to_bytes(colour: NDArray[Any], bits: int = 0) -> NDArray[np.uint8]:
    """Reduce colour to 8 bits, by its range of bits, or by its largest value."""
    if colour.dtype == np.uint8:
        return colour
    if bits:
        return (colour >> (bits - 8)).astype(np.uint8)
    return (colour / max(1, int(colour.max())) * 255).astype(np.uint8)


def rescale(values: NDArray[Any], header: Dataset) -> NDArray[np.float64]:
    """Apply the modality LUT (PS3.3, C.11.1)."""
    return np.asarray(apply_modality_lut(values, header), np.float64)


def find_window(header: Dataset) -> Window | None:
    """Return the file's first window."""
    center, width = (header.get(keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if center is None or width is None:
        return None
    try:
        first = [float(value[0] if isinstance(value, MultiValue) else value) for value in (center, width)]
    except (TypeError, ValueError, IndexError):
        return None
    return Window(first[0], first[1])


def full_window(values: NDArray[Any], header: Dataset) -> Window:
    """Return a window over the complete range of the rescaled values."""
    if values.dtype.kind in "iu" and values.size and "ModalityLUTSequence" not in header:  # slope and intercept
        values = np.array([[values.min(), values.max()]])
    low, high = np.inf, -np.inf
    for block in iter_blocks(values):
        rescaled = rescale(block, header)
        finite = rescaled[np.isfinite(rescaled)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return window_over(low, high) if low <= high else Window(0.5, 1.0)


def window_over(low: float, high: float) -> Window:
    """Return the window over a range."""
    return Window((low + high) / 2 + 0.5, high - low + 1)
