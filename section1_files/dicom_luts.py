"""Lookup tables of DICOM: modality, values of interest (PS3.3 C.11.1, C.11.2) and palettes (PS3.3 C.7.6.3.1.5)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_header import ByteOrder


class LookupTable(NamedTuple):
    """A lookup table: the stored value of its first entry, the bits of an entry, and the entries."""

    first: int
    bits: int
    entries: NDArray[np.int64]

    def apply(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the entry of each value; values outside the table get its first or last entry."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)])

    def scale(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the entry of each value, scaled to 0 to 255."""
        return np.asarray(np.rint(self.apply(values) * (255 / ((1 << self.bits) - 1))), np.uint8)


def read_lut(dataset: Dataset, descriptor: str, data: str, order: ByteOrder, *, signed: bool) -> LookupTable:
    """Read a lookup table from its descriptor and data elements.

    Entries of 8 bits may be packed two to a word or stored in words of 16 bits; a segmented table is expanded.

    Args:
        dataset: The data set or sequence item that holds the table.
        descriptor: The keyword of the descriptor.
        data: The keyword of the data.
        order: The byte order of the file.
        signed: Whether the first mapped value is signed.

    Raises:
        ValueError: The table is missing or damaged.

    """
    count, first, bits = (int(number) & 0xFFFF for number in dataset[descriptor].value)
    count = count or 1 << 16
    if signed and first >= 1 << 15:
        first -= 1 << 16
    segmented = data not in dataset and f"Segmented{data}" in dataset
    element = dataset[f"Segmented{data}" if segmented else data]
    value = element.value
    if not isinstance(value, bytes):
        entries = np.atleast_1d(np.asarray(value, np.int64)) & 0xFFFF
    elif len(value) >= 2 * count or (bits > 8 and len(value) > count + 1) or (segmented and bits > 8):
        entries = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if order == "little" else ">u2").astype(np.int64)
    else:
        packed = np.frombuffer(value, np.uint8)
        if order == "big" and element.VR == "OW" and len(packed) % 2 == 0:
            packed = packed.reshape(-1, 2)[:, ::-1].ravel()
        entries = packed.astype(np.int64)
    if segmented:
        entries = expand_segments(entries.tolist(), 1 if bits <= 8 else 2)
    entries = entries[:count]
    if not len(entries):
        raise ValueError("an empty lookup table")
    highest = int(entries.max())
    return LookupTable(first, max(bits if bits <= 16 else 16, highest.bit_length(), 1), entries)


def expand_segments(words: list[int], word_bytes: int) -> NDArray[np.int64]:
    """Expand a segmented palette (PS3.3 C.7.9.2): discrete, linear and indirect segments.

    Raises:
        ValueError: A segment is damaged.

    """
    out: list[int] = []

    def expand(position: int, segments: int | None, *, nested: bool) -> None:
        while position + 1 < len(words) and segments != 0:
            opcode, length = words[position], words[position + 1]
            if opcode == 0:
                out.extend(words[position + 2 : position + 2 + length])
                position += 2 + length
            elif opcode == 1 and out:
                start, end = out[-1], words[position + 2]
                out.extend(start + round((end - start) * step / length) for step in range(1, length + 1))
                position += 3
            elif opcode == 2 and not nested:
                parts = 4 // word_bytes  # the offset is a number of bytes, in 32 bits
                offset = sum(words[position + 2 + part] << (8 * word_bytes * part) for part in range(parts))
                expand(offset // word_bytes, length, nested=True)
                position += 2 + parts
            else:
                raise ValueError("a damaged segmented palette")
            if len(out) > 1 << 16:
                raise ValueError("a segmented palette of more than 65,536 entries")
            segments = None if segments is None else segments - 1

    try:
        expand(0, None, nested=False)
    except IndexError as error:
        raise ValueError("a damaged segmented palette") from error
    return np.asarray(out, np.int64)
