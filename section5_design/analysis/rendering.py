"""Render a frame through the window that a reader chooses (PS3.3, C.11.2.1.2)."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from analysis.windowing import Window, decode_frame, find_window, render_values, rescale, window_over
from archive.encryption import ObjectIntegrityError

MAX_FRAME_BYTES = 64 << 20  # of a decoded frame; of a larger one only the preview is shown
MAX_RENDERINGS = 2  # at a time in a process: each takes a few times the memory of its frame

_slots = threading.BoundedSemaphore(MAX_RENDERINGS)


class RenderingError(Exception):
    """The frame cannot be rendered."""


def render(file: BinaryIO, frame: int, window: Window | None, *, overlays: bool = True) -> bytes:
    """Render a frame, counted from 0, as PNG; see `render_image`."""
    target = io.BytesIO()
    render_image(file, frame, window, overlays=overlays).save(target, "PNG", compress_level=1)
    return target.getvalue()


def render_image(file: BinaryIO, frame: int, window: Window | None, *, overlays: bool = True) -> Image.Image:
    """Render a frame, counted from 0; the default is the file's first window, else the complete range.

    Args:
        file: the instance.
        frame: the frame, from 0.
        window: the window of a grey image.
        overlays: whether the overlays of the file are drawn in white (PS3.3, C.9.2).

    Raises:
        RenderingError: the frame does not exist, is too large, or cannot be decoded.

    """
    with decoding():
        header = read_header(file, frame)
        shown = render_values(decode_frame(file, frame), header, window)
        return Image.fromarray(draw_overlays(shown, header, frame) if overlays else shown)


def read_values(file: BinaryIO, frame: int) -> tuple[NDArray[np.float64] | None, str]:
    """Return the rescaled values of a grey frame, counted from 0, and their unit; None for colour.

    Raises:
        RenderingError: the frame does not exist, is too large, or cannot be decoded.

    """
    with decoding():
        header = read_header(file, frame)
        if not str(header.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
            return None, ""
        unit = str(header.get("RescaleType") or ("HU" if header.get("Modality") == "CT" else ""))
        return rescale(decode_frame(file, frame), header), "" if unit == "US" else unit  # unspecified


@contextmanager
def decoding() -> Iterator[None]:
    """Wait for a slot to decode in; pydicom raises all kinds of errors on malformed pixels.

    Raises:
        RenderingError: they cannot be decoded.

    """
    with _slots, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (RenderingError, ObjectIntegrityError):
            raise
        except Exception as error:
            raise RenderingError(f"cannot be decoded ({type(error).__name__})") from error


def read_header(file: BinaryIO, frame: int) -> Dataset:
    """Read the header of a file whose frame can be shown, and go back to its start."""
    header = pydicom.dcmread(file, force=True, defer_size=1024)
    check(header, frame)
    file.seek(0)
    return header


def check(header: Dataset, frame: int) -> None:
    """Reject missing and too large frames."""
    if not 0 <= frame < int(header.get("NumberOfFrames") or 1):
        raise RenderingError("there is no such frame")
    size = int(header.get("Rows") or 0) * int(header.get("Columns") or 0) * int(header.get("SamplesPerPixel") or 1)
    if not 0 < size * (int(header.get("BitsAllocated") or 8) // 8 or 1) <= MAX_FRAME_BYTES:
        raise RenderingError("is too large to be shown here")


def draw_overlays(shown: NDArray[np.uint8], header: Dataset, frame: int) -> NDArray[np.uint8]:
    """Draw the overlay planes of a frame in white; planes that cannot be read are left out."""
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x3000) not in header:
            continue
        try:
            plane = header.overlay_array(group)
            top, left = (int(value) - 1 for value in header[group, 0x0050].value)
            first = int(header[group, 0x0051].value) - 1 if (group, 0x0051) in header else 0
        except Exception:  # noqa: BLE001, S112  # pydicom raises all kinds of errors on malformed planes
            continue
        if plane.ndim == 3:
            if not 0 <= frame - first < len(plane):
                continue
            plane = plane[frame - first]
        plane = plane[max(0, -top) :, max(0, -left) :]
        area = shown[max(0, top) :, max(0, left) :]
        rows, columns = min(len(plane), len(area)), min(plane.shape[1], area.shape[1])
        area[:rows, :columns][plane[:rows, :columns] > 0] = 255
    return shown


def find_scale(file: BinaryIO, minimum: object, maximum: object) -> tuple[Window, float, float, bool]:
    """Return the initial window, the range of rescaled values, and whether the image is grey.

    Args:
        file: the instance.
        minimum: the smallest stored value, if the analysis found one.
        maximum: the largest stored value.

    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(file, force=True, defer_size=1024)
        if not isinstance(minimum, int | float) or not isinstance(maximum, int | float):
            minimum, maximum = 0, 2 ** min(int(header.get("BitsStored") or 8), 32) - 1
        extremes = np.array([[minimum, maximum]])
        values = rescale(extremes.astype(np.int64) if "ModalityLUTSequence" in header else extremes, header)
    low, high = sorted((float(values.min()), float(values.max())))
    grey = str(header.get("PhotometricInterpretation", "")).startswith("MONOCHROME")
    return find_window(header) or window_over(low, high), low, high, grey


def find_spacing(file: BinaryIO, frame: int) -> tuple[list[float] | None, bool]:
    """Return the distances between the rows and between the columns of a frame, in mm, and whether at the detector.

    Pixel Spacing is in the patient; Imager Pixel Spacing, of projections, at the detector (PS3.3, 10.7.1.3).

    Args:
        file: the instance.
        frame: the frame, from 0.

    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(file, force=True, stop_before_pixels=True)
            groups = list(header.get("SharedFunctionalGroupsSequence") or [])
            groups += list(header.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1]
            measures = [item for group in groups for item in group.get("PixelMeasuresSequence") or []]
            for place in (header, *measures):
                for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
                    spacing = [float(value) for value in place.get(keyword) or ()]
                    if len(spacing) == 2 and all(0 < value < np.inf for value in spacing):
                        return spacing, keyword == "ImagerPixelSpacing"
        except (ObjectIntegrityError, OSError):
            raise
        except Exception:  # noqa: BLE001  # pydicom raises all kinds of errors on malformed elements
            return None, False
    return None, False
