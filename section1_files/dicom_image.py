"""The picture in a DICOM file: its pixels as a person should see them, eight bits a channel.

The grey-scale pipeline is that of PS3.4 N.2: modality transformation, values of interest, presentation.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing, pixel_array

from dicom_reading import is_deflated, quiet, read_header
from errors import InputError, printable, reason

Picture = NDArray[np.uint8]
MONTAGE_FRAMES = 64
MONTAGE_TILE = 256  # pixels


def picture_of(path: Path, frame: int = 1, window: tuple[float, float] | None = None) -> Picture:
    """One frame, counted from 1, as uint8: (rows, columns) for grey, (rows, columns, 3) for colour.

    Grey values are seen through `window` (centre and width, in the units after the rescale: Hounsfield for CT), else
    through the file's first window or look-up table, else from their minimum to their maximum.

    Raises:
        InputError: the file has no pixels, not this frame, or pixels that no decoder understands.

    """
    return _picture(path, _image_header(path), frame, window)


def _image_header(path: Path) -> Dataset:
    header = read_header(path)
    if not header.bulk:
        raise InputError(f"{printable(str(path))}: holds no pixels, so there is no picture")
    return header.dataset


def _picture(path: Path, dataset: Dataset, frame: int, window: tuple[float, float] | None) -> Picture:
    shown = printable(str(path))
    frames = number_of_frames(dataset)
    if not 1 <= frame <= frames:
        raise InputError(f"{shown}: has no frame {frame}; its frames are 1 to {frames}")
    try:
        with quiet():
            # From the path one frame is read alone; pydicom finds no pixels behind a deflated header that way.
            pixels = pixel_array(pydicom.dcmread(path) if is_deflated(dataset) else path, index=frame - 1)
            if dataset.PhotometricInterpretation == "PALETTE COLOR":
                return _eight_bits(apply_color_lut(pixels, dataset), _palette_bits(dataset))
            if dataset.SamplesPerPixel == 3:  # pixel_array has made RGB of any YBR
                return _eight_bits(pixels, int(dataset.BitsStored))
            grey = _grey(apply_modality_lut(pixels, dataset), pixels, dataset, window)
    except (OSError, InputError):
        raise
    except MemoryError as error:
        raise InputError(f"{shown}: its picture is larger than the memory") from error
    except Exception as error:
        raise InputError(f"{shown}: its pixels cannot be decoded ({_reason(error)})") from error
    return np.asarray(255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey, np.uint8)


def number_of_frames(dataset: Dataset) -> int:
    """Frames in the file; one where it does not say."""
    try:
        with quiet():
            return int(dataset.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        return 1


def _reason(error: Exception) -> str:
    """One line of what a decoder says; where pydicom lists all of its plugins, the first of them."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return printable(lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0])[:200]


def _eight_bits(pixels: NDArray[Any], bits: int) -> Picture:
    return np.asarray(pixels >> (bits - 8) if bits > 8 else pixels, np.uint8)


def _palette_bits(dataset: Dataset) -> int:
    return (
        int(dataset.RedPaletteColorLookupTableDescriptor[2]) if "RedPaletteColorLookupTableDescriptor" in dataset else 8
    )


def _grey(
    values: NDArray[Any], stored: NDArray[Any], dataset: Dataset, window: tuple[float, float] | None
) -> NDArray[np.uint8]:
    """Values of interest as 0 to 255 (PS3.3 C.11.2)."""
    if window is None and "VOILUTSequence" in dataset:
        descriptor = dataset.VOILUTSequence[0].LUTDescriptor
        return _eight_bits(apply_voi(values, dataset), int(descriptor[2]))
    function = dataset.get("VOILUTFunction") or "LINEAR"
    if window is None:
        window = _first_window(dataset)
    if window is None:
        window, function = _full_range(values, stored, dataset), "LINEAR_EXACT"
        if window is None:
            return np.zeros(values.shape, np.uint8)
    # pydicom takes the output range from these attributes: eight bits, unsigned, not rescaled.
    view = Dataset()
    view.PhotometricInterpretation = "MONOCHROME2"
    view.BitsStored, view.PixelRepresentation = 8, 0
    view.WindowCenter, view.WindowWidth = window
    view.VOILUTFunction = function
    seen = np.nan_to_num(apply_windowing(values.astype(np.float64), view))
    return np.asarray(np.clip(np.rint(seen), 0, 255), np.uint8)


def _first_window(dataset: Dataset) -> tuple[float, float] | None:
    """The first window that the file gives, where it is a possible one."""
    try:
        centre, width = (np.atleast_1d(dataset[key].value)[0] for key in ("WindowCenter", "WindowWidth"))
        centre, width = float(centre), float(width)
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return (centre, width) if width >= 1 and math.isfinite(centre) and math.isfinite(width) else None


def _full_range(values: NDArray[Any], stored: NDArray[Any], dataset: Dataset) -> tuple[float, float] | None:
    """A window from the smallest to the largest value, padding left out; None where all are the same."""
    counted = np.isfinite(values)
    if (padding := dataset.get("PixelPaddingValue")) is not None:
        counted &= stored != padding
    if not counted.any():
        return None
    low, high = float(values[counted].min()), float(values[counted].max())
    return ((low + high) / 2, high - low) if high > low else None


def montage_of(path: Path, window: tuple[float, float] | None = None) -> Picture:
    """All frames side by side, reduced to tiles; of more than MONTAGE_FRAMES an even choice.

    Raises:
        InputError: as `picture_of`.

    """
    dataset = _image_header(path)
    frames = number_of_frames(dataset)
    count = min(frames, MONTAGE_FRAMES)
    tiles = []
    for number in range(count):
        tile = Image.fromarray(_picture(path, dataset, 1 + number * frames // count, window))
        tile.thumbnail((MONTAGE_TILE, MONTAGE_TILE))
        tiles.append(tile)
    across = math.ceil(math.sqrt(count))
    width, height = tiles[0].size
    sheet = Image.new(tiles[0].mode, (across * width, math.ceil(count / across) * height))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % across * width, number // across * height))
    return np.asarray(sheet)


def save_picture(picture: Picture, target: Path) -> None:
    """Write a picture; the file's ending says the format.

    Raises:
        InputError: the file cannot be written, or its ending names no picture format.

    """
    shown = printable(str(target))
    try:
        Image.fromarray(picture).save(target)
    except ValueError as error:
        raise InputError(f"{shown}: its ending names no picture format; call it {target.stem}.png") from error
    except OSError as error:
        raise InputError(f"{shown}: cannot be written ({reason(error)}); check the folder") from error
