"""The image in a DICOM file, as it should be displayed, in 8 bits per channel.

Grey values pass through the pipeline of PS3.4 N.2: stored value, modality transformation, values of interest (VOI),
presentation. Overlays are drawn on top. What is left out of the image is listed in `DicomImage.remarks`.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import XRayAngiographicImageStorage, XRayRadiofluoroscopicImageStorage

from dicom_header import load_deferred, read_header, suppress_pydicom_output
from dicom_pixels import PixelReader, get_number, get_text, swap_pairs
from errors import InputError, os_error_text, printable

Picture = NDArray[np.uint8]
Window = tuple[float, float]
MONTAGE_FRAMES = 64
MONTAGE_TILE = 256  # pixels
OVERLAY_GROUPS = range(0x6000, 0x6100, 2)
DISPLAYED_AS_STORED = {XRayAngiographicImageStorage, XRayRadiofluoroscopicImageStorage}  # PS3.3 C.8.7.1.1.2
LEFT_OUT = {  # elements that change the display and that are not applied
    "ShutterShape": "display shutter",
    "PresentationLUTSequence": "presentation LUT",
    "AlphaPaletteColorLookupTableData": "transparency of the palette",
    "BlendingLUT1Sequence": "blending",
}


class LookupTable(NamedTuple):
    """A lookup table: the stored value of its first entry, the bits of an entry, and the entries."""

    first: int
    bits: int
    entries: NDArray[np.int64]

    def apply(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the entry of each value; values outside the table get its first or last entry."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)])

    def scale(self, values: NDArray[Any]) -> Picture:
        """Return the entry of each value, scaled to 0 to 255."""
        return np.asarray(np.rint(self.apply(values) * (255 / ((1 << self.bits) - 1))), np.uint8)


class DicomImage:
    """The frames of one DICOM file.

    Attributes:
        frames: The number of frames.
        remarks: What the rendered images leave out or assume; it grows while frames are rendered.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._header = read_header(path)
        self.dataset = self._header.dataset
        self.remarks: list[str] = []
        with suppress_pydicom_output():
            self._pixels = PixelReader(self._header, self._remark)
        self.frames = self._pixels.frames

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)

    def render(self, frame: int = 1, window: Window | None = None) -> Picture:
        """Return a frame, counted from 1, as (rows, columns) for grey or (rows, columns, 3) for RGB.

        Args:
            frame: The number of the frame.
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
            picture = (stored >> max(0, self._pixels.bits_stored - 8)).astype(np.uint8)
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
        tables = [
            self._read_lut(self.dataset, f"{name}Descriptor", f"{name}Data", signed=self._pixels.signed)
            for name in (f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue"))
        ]
        return np.stack([table.scale(stored) for table in tables], axis=-1), tables[0].first

    def _read_lut(
        self, dataset: Dataset, descriptor: str = "LUTDescriptor", data: str = "LUTData", *, signed: bool
    ) -> LookupTable:
        """Read a lookup table: modality, values of interest (PS3.3 C.11.1, C.11.2) or palette (C.7.6.3.1.5).

        Entries of 8 bits may be packed two to a word or stored in words of 16 bits. `signed` is that of the first
        mapped value.
        """
        count, first, bits = (int(number) & 0xFFFF for number in dataset[descriptor].value)
        count = count or 1 << 16
        first -= 1 << 16 if signed and first >= 1 << 15 else 0
        is_segmented = data not in dataset and f"Segmented{data}" in dataset
        element = dataset[f"Segmented{data}" if is_segmented else data]
        value, is_big = element.value, self._header.byte_order == "big"
        if isinstance(value, bytes):
            is_wide = len(value) >= 2 * count or (bits > 8 and (is_segmented or len(value) > count + 1))
            if is_big and not is_wide and element.VR == "OW":
                value = swap_pairs(value)
            value = np.frombuffer(value[: len(value) // 2 * 2], (">u2" if is_big else "<u2") if is_wide else "u1")
        entries = np.atleast_1d(np.asarray(value, np.int64)) & 0xFFFF
        if is_segmented:
            entries = np.asarray(expand_segments(entries.tolist(), 1 if bits <= 8 else 2), np.int64)
        entries = entries[:count]
        return LookupTable(first, max(min(bits, 16), int(entries.max()).bit_length(), 1), entries)

    def _find_macro(self, frame: int, keyword: str, needed: str) -> Dataset:
        """Return the functional group macro (PS3.3 C.7.6.16) of a frame that has `needed`, else the data set."""
        groups = self._get_items(self.dataset, "PerFrameFunctionalGroupsSequence")[frame - 1 : frame]
        for group in [*groups, *self._get_items(self.dataset, "SharedFunctionalGroupsSequence")[:1]]:
            for macro in self._get_items(group, keyword)[:1]:
                if needed in macro:
                    return macro
        return self.dataset

    def _get_items(self, dataset: Dataset, keyword: str) -> list[Dataset]:
        if dataset is self.dataset:
            load_deferred(self._header, keyword)
        return list(dataset.get(keyword) or [])

    def _render_grey(self, stored: NDArray[Any], frame: int, window: Window | None) -> Picture:
        """Apply the modality and the VOI transformation (PS3.3 C.11.1 and C.11.2)."""
        values = self._apply_modality(stored, frame)
        voi = self._find_macro(frame, "FrameVOILUTSequence", "WindowCenter")
        function = (get_text(voi, "VOILUTFunction") or "LINEAR").upper()
        if window is None:
            for item in self._get_items(self.dataset, "VOILUTSequence")[:1]:
                return self._read_lut(item, signed=self._pixels.signed or bool(values.min() < 0)).scale(values)
            window = self._get_window(voi, function)
        if window is None:
            return self._stretch(stored, values)
        return apply_window(values, window, "LINEAR_EXACT" if window[1] < 1 and function == "LINEAR" else function)

    def _apply_modality(self, stored: NDArray[Any], frame: int) -> NDArray[Any]:
        if get_text(self.dataset, "SOPClassUID") in DISPLAYED_AS_STORED:
            return stored
        for item in self._get_items(self.dataset, "ModalityLUTSequence")[:1]:
            return self._read_lut(item, signed=self._pixels.signed).apply(stored)
        macro = self._find_macro(frame, "PixelValueTransformationSequence", "RescaleSlope")
        slope, intercept = get_number(macro, "RescaleSlope", 1), get_number(macro, "RescaleIntercept", 0)
        if slope == 0:
            self._remark("its rescale slope of 0 is ignored")
            slope = 1
        return stored if (slope, intercept) == (1, 0) else stored * slope + intercept

    def _get_window(self, voi: Dataset, function: str) -> Window | None:
        """Return the first window of the file if it is valid."""
        centre, width = get_number(voi, "WindowCenter", math.nan), get_number(voi, "WindowWidth", math.nan)
        if math.isnan(centre):
            return None
        if width >= 1 or (width > 0 and function != "LINEAR"):
            return centre, width
        self._remark("its window is not valid; the range of its values is shown")
        return None

    def _stretch(self, stored: NDArray[Any], values: NDArray[Any]) -> Picture:
        """Map the smallest value to 0 and the largest to 255; padding pixels (PS3.3 C.7.5.1.1.2) become 0."""
        counted = np.isfinite(values)
        padding = get_number(self.dataset, "PixelPaddingValue", math.nan)
        if not math.isnan(padding):
            low, high = sorted((padding, get_number(self.dataset, "PixelPaddingRangeLimit", padding)))
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
        rows, columns, count = (int(get_number(self.dataset, (group, element), 0)) for element in (0x10, 0x11, 0x15))
        if get_text(self.dataset, (group, 0x0040)) == "R":
            self._remark(f"left out: {name}, a region of interest")
            return
        index = frame - int(get_number(self.dataset, (group, 0x51), 1)) if count else 0
        if count and not 0 <= index < count:
            return
        try:
            plane = self._pixels.read_overlay(group, rows, columns, index)
        except (ValueError, TypeError) as error:
            self._remark(f"left out: {name} ({printable(str(error))[:100]})")
            return
        origin: Any = self.dataset[group, 0x0050].value if (group, 0x0050) in self.dataset else None
        top, left = (int(number) - 1 for number in origin) if isinstance(origin, (MultiValue, list)) else (0, 0)
        source = plane[max(0, -top) :, max(0, -left) :]
        target = picture[max(0, top) :, max(0, left) :]
        height, width = np.minimum(source.shape, target.shape[:2])
        target[:height, :width][source[:height, :width]] = 255

    def render_montage(self, window: Window | None = None) -> Picture:
        """Return all frames as tiles side by side; of more than MONTAGE_FRAMES frames an even selection."""
        count = min(self.frames, MONTAGE_FRAMES)
        if count < self.frames:
            self._remark(f"the montage shows {count} of {self.frames} frames")
        across = math.ceil(math.sqrt(count))
        sheet = None
        for number in range(count):
            tile = Image.fromarray(self.render(1 + number * self.frames // count, window))
            tile.thumbnail((MONTAGE_TILE, MONTAGE_TILE))
            sheet = sheet or Image.new(tile.mode, (across * tile.width, math.ceil(count / across) * tile.height))
            sheet.paste(tile, (number % across * tile.width, number // across * tile.height))
        return np.asarray(sheet)


def expand_segments(words: list[int], word_bytes: int) -> list[int]:
    """Expand the discrete, linear and indirect segments of a palette (PS3.3 C.7.9.2)."""
    entries: list[int] = []
    parts = 4 // word_bytes  # the offset of an indirect segment is a number of bytes, in 32 bits

    def expand(position: int, segments: int) -> None:
        while position + 1 < len(words) and segments:
            opcode, length = words[position : position + 2]
            size = {0: length, 1: 1}.get(opcode, parts)
            operands = words[position + 2 : position + 2 + size]
            is_nested = segments > 0
            if len(operands) < size or opcode > 2 or (opcode and not entries) or (opcode == 2 and is_nested):
                raise ValueError("a damaged segmented palette")
            if opcode == 0:
                entries.extend(operands)
            elif opcode == 1:
                entries.extend(np.rint(np.linspace(entries[-1], operands[0], length + 1)[1:]).astype(int).tolist())
            else:
                offset = sum(word << (8 * word_bytes * part) for part, word in enumerate(operands))
                expand(offset // word_bytes, length)
            position, segments = position + 2 + size, segments - 1
            if len(entries) > 1 << 16:
                raise ValueError("a segmented palette of more than 65,536 entries")

    expand(0, -1)
    return entries


def apply_window(values: NDArray[Any], window: Window, function: str = "LINEAR") -> Picture:
    """Map values to 0 to 255 through a window: LINEAR, LINEAR_EXACT or SIGMOID (PS3.3 C.11.2.1.2, C.11.2.1.3)."""
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
