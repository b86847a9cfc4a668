"""The image in a DICOM file, as it should be displayed, in 8 bits per channel.

Grey values pass through the pipeline of PS3.4 N.2: stored value, modality transformation, values of interest (VOI),
presentation. Overlays are drawn on top. What is left out of the image is listed in `DicomImage.remarks`.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import XRayAngiographicImageStorage, XRayRadiofluoroscopicImageStorage

from dicom_header import read_header, suppress_pydicom_output
from dicom_luts import read_lut
from dicom_pixels import PixelReader, get_int, get_number, get_text
from errors import InputError, os_error_text, printable

Picture = NDArray[np.uint8]
Window = tuple[float, float]
MONTAGE_FRAMES = 64
MONTAGE_TILE = 256  # pixels
OVERLAY_GROUPS = range(0x6000, 0x6100, 2)
PALETTE = [f"{color}PaletteColorLookupTable" for color in ("Red", "Green", "Blue")]
DISPLAYED_AS_STORED = {XRayAngiographicImageStorage, XRayRadiofluoroscopicImageStorage}  # PS3.3 C.8.7.1.1.2
LEFT_OUT = {  # elements that change the display and that are not applied
    "ShutterShape": "display shutter",
    "PresentationLUTSequence": "presentation LUT",
    "AlphaPaletteColorLookupTableData": "transparency of the palette",
    "BlendingLUT1Sequence": "blending",
}


class DicomImage:
    """The frames of one DICOM file.

    Attributes:
        frames: The number of frames.
        remarks: What the rendered images leave out or assume; it grows while frames are rendered.

    Raises:
        InputError: The file cannot be read, is not DICOM, or holds no pixels.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        header = read_header(path)
        self.dataset = header.dataset
        self.remarks: list[str] = []
        self._pixels = PixelReader(header, self._remark)
        self.frames = self._pixels.frames
        self._order = header.byte_order

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)

    def render(self, frame: int = 1, window: Window | None = None) -> Picture:
        """Return a frame, counted from 1, as (rows, columns) for grey or (rows, columns, 3) for RGB.

        Args:
            frame: The number of the frame, from 1.
            window: Centre and width in units after the rescale (Hounsfield for CT). The default is the first VOI
                lookup table or window of the file, else the range from the smallest to the largest value.

        Raises:
            InputError: The frame does not exist, or its pixels cannot be decoded.

        """
        if not 1 <= frame <= self.frames:
            raise InputError(self.path, f"has no frame {frame}", f"its frames are 1 to {self.frames}")
        try:
            with suppress_pydicom_output():
                return self._render(frame, window)
        except (OSError, InputError):
            raise
        except MemoryError as error:
            raise InputError(self.path, "the image is larger than the memory") from error
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            reason = lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]
            raise InputError(self.path, f"its pixels cannot be decoded ({printable(reason)[:200]})") from error

    def _render(self, frame: int, window: Window | None) -> Picture:
        for keyword, name in LEFT_OUT.items():
            if keyword in self.dataset:
                self._remark(f"left out: {name}")
        stored = self._pixels.read_frame(frame)
        if self._pixels.photometric == "PALETTE COLOR":
            picture, _ = self._apply_palette(stored)
        elif stored.ndim == 3:
            bits = self._pixels.bits_stored
            picture = np.asarray(stored >> (bits - 8) if bits > 8 else stored, np.uint8)
        else:
            grey = self._render_grey(stored, frame, window)
            picture = 255 - grey if self._pixels.photometric == "MONOCHROME1" else grey
            if get_text(self.dataset, "PixelPresentation") in ("COLOR", "MIXED"):
                # The supplemental palette colours the values from its first entry on (PS3.3 C.7.6.19).
                colours, first = self._apply_palette(stored)
                picture = np.where((stored >= first)[..., None], colours, picture[..., None])
        for group in OVERLAY_GROUPS:
            if (group, 0x0010) in self.dataset:
                self._draw_overlay(picture, group, frame)
        return picture

    def _apply_palette(self, stored: NDArray[Any]) -> tuple[Picture, int]:
        """Return the colours of the stored values, and the first value that the palette maps."""
        signed = self._pixels.signed
        tables = [
            read_lut(self._pixels.load(f"{name}Data"), f"{name}Descriptor", f"{name}Data", self._order, signed=signed)
            for name in PALETTE
        ]
        return np.stack([table.scale(stored) for table in tables], axis=-1), tables[0].first

    def _find_macro(self, frame: int, keyword: str, needed: str) -> Dataset:
        """Return the functional group macro (PS3.3 C.7.6.16) of a frame that has `needed`, else the data set."""
        groups = []
        if items := self._get_items(self.dataset, "PerFrameFunctionalGroupsSequence"):
            groups = items[frame - 1 : frame]
        for group in [*groups, *self._get_items(self.dataset, "SharedFunctionalGroupsSequence")[:1]]:
            for macro in self._get_items(group, keyword)[:1]:
                if needed in macro:
                    return macro
        return self.dataset

    def _get_items(self, dataset: Dataset, keyword: str) -> list[Dataset]:
        if dataset is self.dataset:
            self._pixels.load(keyword)
        value = dataset.get(keyword)
        return list(value) if value else []

    def _render_grey(self, stored: NDArray[Any], frame: int, window: Window | None) -> Picture:
        """Apply the modality and the VOI transformation (PS3.3 C.11.1 and C.11.2)."""
        values = self._apply_modality(stored, frame)
        voi = self._find_macro(frame, "FrameVOILUTSequence", "WindowCenter")
        function = (get_text(voi, "VOILUTFunction") or "LINEAR").upper()
        if window is None:
            for item in self._get_items(self.dataset, "VOILUTSequence")[:1]:
                signed = self._pixels.signed or bool(values.min() < 0)
                return read_lut(item, "LUTDescriptor", "LUTData", self._order, signed=signed).scale(values)
            window = self._get_window(voi, function)
        if window is None:
            return self._stretch(stored, values)
        if window[1] < 1 and function == "LINEAR":
            function = "LINEAR_EXACT"
        return apply_window(values, window, function)

    def _apply_modality(self, stored: NDArray[Any], frame: int) -> NDArray[Any]:
        if get_text(self.dataset, "SOPClassUID") in DISPLAYED_AS_STORED:
            return stored
        for item in self._get_items(self.dataset, "ModalityLUTSequence")[:1]:
            table = read_lut(item, "LUTDescriptor", "LUTData", self._order, signed=self._pixels.signed)
            return table.apply(stored)
        macro = self._find_macro(frame, "PixelValueTransformationSequence", "RescaleSlope")
        slope, intercept = get_number(macro, "RescaleSlope", 1), get_number(macro, "RescaleIntercept", 0)
        if slope == 0:
            self._remark("its rescale slope of 0 is ignored")
            slope = 1
        return stored if (slope, intercept) == (1, 0) else stored * slope + intercept

    def _get_window(self, voi: Dataset, function: str) -> Window | None:
        """Return the first window of the file if it is valid."""
        centre, width = get_number(voi, "WindowCenter", math.nan), get_number(voi, "WindowWidth", math.nan)
        if math.isfinite(centre) and (width >= 1 or (width > 0 and function != "LINEAR")) and math.isfinite(width):
            return centre, width
        if math.isfinite(centre):
            self._remark("its window is not valid; the range of its values is shown")
        return None

    def _stretch(self, stored: NDArray[Any], values: NDArray[Any]) -> Picture:
        """Map the smallest value to 0 and the largest to 255; padding pixels (PS3.3 C.7.5.1.1.2) become 0."""
        counted = np.isfinite(values)
        padding = get_number(self.dataset, "PixelPaddingValue", math.nan)
        if math.isfinite(padding):
            limit = get_number(self.dataset, "PixelPaddingRangeLimit", padding)
            low, high = sorted((padding, limit))
            counted &= (stored < low) | (stored > high)
        picture = np.zeros(values.shape, np.uint8)
        if counted.any():
            low, high = float(values[counted].min()), float(values[counted].max())
            if high > low:
                picture[counted] = np.rint((values[counted] - low) * (255 / (high - low)))
            elif not counted.all():
                picture[counted] = 255  # one label on padding
        return picture

    def _draw_overlay(self, picture: Picture, group: int, frame: int) -> None:
        """Draw a graphic overlay (PS3.3 C.9.2) in white."""
        name = f"overlay {group:04X}"
        dataset = self.dataset
        rows, columns = (get_int(dataset, (group, element), 0) for element in (0x0010, 0x0011))
        if get_text(dataset, (group, 0x0040)) == "R":
            self._remark(f"left out: {name}, a region of interest")
            return
        count, first = get_int(dataset, (group, 0x0015), 0), get_int(dataset, (group, 0x0051), 1)
        index = frame - first if count else 0
        if count and not 0 <= index < count:
            return
        try:
            plane = self._pixels.read_overlay(group, rows, columns, index)
        except (ValueError, KeyError, TypeError) as error:
            self._remark(f"left out: {name} ({printable(str(error))[:100]})")
            return
        top, left = self._get_origin(group)
        source = plane[max(0, -top) :, max(0, -left) :]
        target = picture[max(0, top) :, max(0, left) :]
        height, width = min(source.shape[0], target.shape[0]), min(source.shape[1], target.shape[1])
        target[:height, :width][source[:height, :width]] = 255

    def _get_origin(self, group: int) -> tuple[int, int]:
        """Return the row and the column, from 0, of an overlay's first pixel."""
        value = self.dataset[group, 0x0050].value if (group, 0x0050) in self.dataset else None
        if isinstance(value, (str, bytes)) or value is None or len(value) < 2:
            return 0, 0
        return int(value[0]) - 1, int(value[1]) - 1

    def render_montage(self, window: Window | None = None) -> Picture:
        """Return all frames as tiles side by side; of more than MONTAGE_FRAMES frames an even selection.

        Raises:
            InputError: A frame cannot be decoded.

        """
        count = min(self.frames, MONTAGE_FRAMES)
        if count < self.frames:
            self._remark(f"the montage shows {count} of {self.frames} frames")
        tiles = []
        for number in range(count):
            tile = Image.fromarray(self.render(1 + number * self.frames // count, window))
            tile.thumbnail((MONTAGE_TILE, MONTAGE_TILE))
            tiles.append(tile)
        across = math.ceil(math.sqrt(count))
        width, height = tiles[0].size
        sheet = Image.new(tiles[0].mode, (across * width, math.ceil(count / across) * height))
        for number, tile in enumerate(tiles):
            sheet.paste(tile, (number % across * width, number // across * height))
        return np.asarray(sheet)


def apply_window(values: NDArray[Any], window: Window, function: str = "LINEAR") -> Picture:
    """Map values to 0 to 255 through a window (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: Values after the modality transformation.
        window: Centre and width.
        function: LINEAR, LINEAR_EXACT or SIGMOID.

    """
    centre, width = window
    x = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        if function == "SIGMOID":
            y = 1 / (1 + np.exp(-4 * (x - centre) / width))
        elif function == "LINEAR_EXACT":
            y = (x - centre) / width + 0.5
        elif width == 1:
            y = (x > centre - 0.5).astype(np.float64)
        else:
            y = (x - (centre - 0.5)) / (width - 1) + 0.5
    return np.asarray(np.rint(np.clip(np.nan_to_num(y), 0, 1) * 255), np.uint8)


def save_image(picture: Picture, target: Path) -> None:
    """Write an image; the file name's suffix selects the format.

    Raises:
        InputError: The file cannot be written, or the suffix is unknown.

    """
    try:
        Image.fromarray(picture).save(target)
    except ValueError as error:
        raise InputError(target, "unknown image format", f"call it {printable(target.stem)}.png") from error
    except OSError as error:
        raise InputError(target, f"cannot be written ({os_error_text(error)})", "check the folder") from error
