"""Pixel encodings, lookup tables, windows and overlays of the standard, compared with DCMTK."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_image import DicomImage
from errors import InputError
from support import ct_image, require_program, save

BIG = ExplicitVRBigEndian
random = np.random.default_rng(1)
U8 = random.integers(0, 256, (16, 16), dtype=np.uint8)
U16 = random.integers(0, 4096, (16, 16), dtype=np.uint16)
S16 = random.integers(-1024, 3000, (16, 16), dtype=np.int16)
RGB = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
BITS = random.integers(0, 2, (2, 16, 16), dtype=np.uint8)
PALETTE = [random.integers(0, 256, 256, dtype=np.uint8) for _ in range(3)]
SIZE = {"Rows": 16, "Columns": 16}
COLOUR = {**SIZE, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
PALETTE_COLOR = {"PhotometricInterpretation": "PALETTE COLOR"}
Elements = list[tuple[int, str, Any]]


def encode(array: NDArray[Any], syntax: UID, *, swap_bytes: bool = False) -> bytes:
    """Return an array as an element's value; in big endian, bytes of OW are swapped in pairs."""
    data = array.astype(array.dtype.newbyteorder(">" if syntax == BIG else "<")).tobytes()
    data += bytes(len(data) % 2)
    return np.frombuffer(data, "<u2").byteswap().tobytes() if swap_bytes and syntax == BIG else data


def pack(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.packbits(bits.ravel(), bitorder="little")


def lut(descriptor: list[int], data: Any, vr: str = "US") -> pydicom.Sequence:
    item = Dataset()
    item.add_new(0x00283002, "SS" if descriptor[1] < 0 else "US", descriptor)
    item.add_new(0x00283006, vr, data)
    return pydicom.Sequence([item])


def palette(descriptor: list[int], tables: Sequence[NDArray[Any]], syntax: UID = ExplicitVRLittleEndian) -> Elements:
    vr = "SS" if descriptor[1] < 0 else "US"
    descriptors: Elements = [(0x00281101 + number, vr, descriptor) for number in range(3)]
    values = [encode(table, syntax, swap_bytes=table.dtype.itemsize == 1) for table in tables]
    return descriptors + [(0x00281201 + number, "OW", value) for number, value in enumerate(values)]


def overlay(
    bits: NDArray[np.uint8] | None,
    origin: list[int],
    *,
    frames: Elements = [],  # noqa: B006 (never changed)
    syntax: UID = ExplicitVRLittleEndian,
) -> Elements:
    """Return the elements of group 6000; without `bits`, the overlay is in bit 12 of the pixels."""
    rows, columns = (16, 16) if bits is None else bits.shape[-2:]
    values: dict[int, tuple[str, Any]] = {0x10: ("US", rows), 0x11: ("US", columns), 0x40: ("CS", "G")}
    values |= {0x50: ("SS", origin), 0x100: ("US", 16 if bits is None else 1), 0x102: ("US", 12 if bits is None else 0)}
    if bits is not None:
        values[0x3000] = ("OW", encode(pack(bits), syntax, swap_bytes=True))
    return [(0x60000000 | element, vr, value) for element, (vr, value) in values.items()] + frames


VARIANTS: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
    "unsigned 8": (U8, {}),
    "signed 16": (S16, {}),
    "unsigned 32": (U16.astype(np.uint32) << 19, {}),
    "rescaled, first of two windows": (
        S16,
        {"WindowCenter": ["40", "300"], "WindowWidth": ["400", "1500"], "RescaleSlope": 1, "RescaleIntercept": -100},
    ),
    **{
        f"window {function}": (S16, {"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": function})
        for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
    },
    "window of width 1": (S16, {"WindowCenter": 40, "WindowWidth": 1}),
    "12 bits in the high bits": (U16 << 4, {"BitsStored": 12, "HighBit": 15}),
    "12 signed bits": ((S16 & 0xFFF).astype(np.uint16), {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}),
    "MONOCHROME1": (U16, {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2000, "WindowWidth": 3000}),
    "big endian 16": (U16, {"syntax": BIG}),
    "big endian 8 in words": (U8, {"syntax": BIG, "vr": "OW"}),
    "odd size": (U8[:5, :5], {}),
    "single bits": (
        pack(BITS[0, :15, :15])[None],
        {"Rows": 15, "Columns": 15, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0},
    ),
    "packed 12 bits": (
        pack((U16.ravel()[:, None] >> np.arange(12) & 1).astype(np.uint8))[None],
        {**SIZE, "BitsAllocated": 12, "BitsStored": 12, "HighBit": 11, "vr": "OW"},
    ),
    "RGB": (RGB, COLOUR),
    "RGB by plane": (RGB.transpose(2, 0, 1), {**COLOUR, "PlanarConfiguration": 1}),
    "RGB of 12 bits": (RGB.astype(np.uint16) * 16, {**COLOUR, "BitsStored": 12, "HighBit": 11}),
    **{
        f"{photometric} of {bits} bits": (
            random.integers(0, 1 << bits, (16, 16, samples), np.uint8 if bits == 8 else np.uint16),
            {**COLOUR, "PhotometricInterpretation": photometric, "BitsStored": bits, "HighBit": bits - 1},
        )
        for photometric, samples in (("YBR_FULL", 3), ("YBR_FULL_422", 2), ("YBR_PARTIAL_422", 2))
        for bits in (8, 12, 16)
    },
    "modality LUT": (U8, {"ModalityLUTSequence": lut([100, 50, 12], list(range(0, 4000, 40)))}),
    "VOI LUT": (U16, {"VOILUTSequence": lut([4096, 0, 12], list(range(4095, -1, -1)))}),
    "VOI LUT of 8 bits in words": (U16, {"VOILUTSequence": lut([4096, 0, 8], [value >> 4 for value in range(4096)])}),
    "VOI LUT of packed bytes": (
        U16,
        {"VOILUTSequence": lut([4096, 0, 8], bytes(value >> 4 for value in range(4096)), "OW")},
    ),
    "VOI LUT from -1000": (S16, {"VOILUTSequence": lut([2000, -1000, 12], list(range(0, 4000, 2)))}),
    "VOI LUT of 65536 entries": (
        U16,
        {"VOILUTSequence": lut([0, 0, 16], np.arange(65536, dtype="<u2").tobytes(), "OW")},
    ),
    **{
        f"palette of {name}, {endian}": (
            U8,
            {**PALETTE_COLOR, "syntax": syntax, "raw": palette([256, 0, bits], tables, syntax)},
        )
        for endian, syntax in (("little endian", ExplicitVRLittleEndian), ("big endian", BIG))
        for name, bits, tables in (
            ("16 bits", 16, [table.astype(np.uint16) * 257 for table in PALETTE]),
            ("8 bits", 8, PALETTE),
            ("8 bits in words", 8, [table.astype(np.uint16) for table in PALETTE]),
        )
    },
    "palette from 50": (U8, {**PALETTE_COLOR, "raw": palette([100, 50, 8], [table[:100] for table in PALETTE])}),
    "palette from -128": (U8.view(np.int8), {**PALETTE_COLOR, "raw": palette([256, -128, 8], PALETTE)}),
    "overlay": (U8, {"raw": overlay(BITS[0], [1, 1])}),
    "overlay beyond the edge": (U8, {"raw": overlay(BITS[0, :8, :8], [5, -2])}),
    "overlay, big endian": (U8, {"syntax": BIG, "raw": overlay(BITS[0], [1, 1], syntax=BIG)}),
    "overlay in the pixels": (
        U16 | BITS[0].astype(np.uint16) << 12,
        {"BitsStored": 12, "HighBit": 11, "raw": overlay(None, [1, 1])},
    ),
    "overlay on MONOCHROME1": (U8, {"PhotometricInterpretation": "MONOCHROME1", "raw": overlay(BITS[0], [1, 1])}),
    "overlay on every frame": (
        np.stack([U8, U8.T, U8]),
        {"NumberOfFrames": 3, "raw": overlay(BITS[0], [1, 1])},
    ),
    "overlay from the second frame": (
        np.stack([U8, U8.T, U8]),
        {
            "NumberOfFrames": 3,
            "raw": overlay(BITS, [1, 1], frames=[(0x60000015, "IS", "2"), (0x60000051, "US", 2)]),
        },
    ),
}


def write(folder: Path, array: NDArray[Any], options: dict[str, Any]) -> Path:
    """Write a file with these pixels; options are keywords, `syntax`, `vr` and `raw` elements."""
    options = dict(options)
    syntax, raw = options.pop("syntax", ExplicitVRLittleEndian), options.pop("raw", [])
    bits = array.dtype.itemsize * 8
    vr = options.pop("vr", "OW" if bits > 8 else "OB")
    dataset = ct_image(
        BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(array.dtype.kind == "i")
    )
    dataset.Rows, dataset.Columns = array.shape[-2:]
    del dataset.PixelData
    dataset.add_new(0x7FE00010, vr, encode(array, syntax, swap_bytes=bits == 8 and vr == "OW"))
    for keyword, value in options.items():
        setattr(dataset, keyword, value)
    for tag, element_vr, value in raw:
        dataset.add_new(tag, element_vr, value)
    dataset.file_meta.TransferSyntaxUID = syntax
    return save(dataset, folder)


@pytest.mark.parametrize("name", VARIANTS)
def test_pixel_variant_matches_dcmtk(name: str, tmp_path: Path) -> None:
    array, options = VARIANTS[name]
    path, target = write(tmp_path, array, options), tmp_path / "dcmtk.pnm"
    display = ["+Wl", "1"] if "VOILUTSequence" in options else ["+Wi", "1"] if "WindowCenter" in options else ["+Wm"]
    image = DicomImage(path)
    for frame in range(1, image.frames + 1):
        command = [require_program("dcm2pnm", "dcmtk"), *display, "+F", str(frame), str(path), str(target)]
        subprocess.run(command, check=True, capture_output=True)
        actual = image.render(frame)
        tolerance = 2 if "YBR" in name else 1  # DCMTK centres chroma at 127.5, PS3.3 C.7.6.3.1.2 at 128
        with Image.open(target) as expected:
            assert np.abs(actual.astype(int) - np.asarray(expected)).max() <= tolerance
    assert image.remarks == []


def test_float_pixels_are_scaled_to_their_range_with_nan_black(tmp_path: Path) -> None:
    dataset = ct_image(FloatPixelData=np.array([0, 1, np.nan, 2], "<f4").tobytes(), BitsAllocated=32)
    del dataset.PixelData
    assert DicomImage(save(dataset, tmp_path)).render().tolist() == [[0, 128], [0, 255]]


def test_enhanced_image_applies_the_window_of_each_frame(tmp_path: Path) -> None:
    groups = []
    for centre in (64, 192):
        group, voi, rescale = Dataset(), Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = centre, 128, "LINEAR_EXACT"
        rescale.RescaleSlope, rescale.RescaleIntercept = 1, 0
        group.FrameVOILUTSequence = pydicom.Sequence([voi])
        group.PixelValueTransformationSequence = pydicom.Sequence([rescale])
        groups.append(group)
    dataset = ct_image(NumberOfFrames=2, PixelData=bytes([0, 64, 128, 255] * 2))
    dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence(groups)
    image = DicomImage(save(dataset, tmp_path))
    assert image.render(1).tolist() == [[0, 128], [255, 255]]
    assert image.render(2).tolist() == [[0, 0], [0, 253]]


def test_ge_private_transfer_syntax_has_big_endian_pixels(tmp_path: Path) -> None:
    dataset = ct_image(BitsAllocated=16, BitsStored=16, HighBit=15, PixelData=np.array([0, 1, 2, 255], ">u2").tobytes())
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    path = save(dataset, tmp_path)
    original, private = b"UI\x12\x001.2.840.10008.1.2\0", b"UI\x14\x001.2.840.113619.5.2\0\0"
    data = path.read_bytes()
    assert original in data
    length = data.index(b"UL\x04\0") + 4
    size = int.from_bytes(data[length : length + 4], "little") + 2
    data = data[:length] + size.to_bytes(4, "little") + data[length + 4 :]
    path.write_bytes(data.replace(original, private))
    assert DicomImage(path).render().tolist() == [[0, 1], [2, 255]]


def test_single_label_on_padding_is_white(tmp_path: Path) -> None:
    path = save(ct_image(PixelPaddingValue=0, PixelData=bytes([0, 7, 7, 0])), tmp_path)
    assert DicomImage(path).render().tolist() == [[0, 255], [255, 0]]


def test_supplemental_palette_colours_only_its_range(tmp_path: Path) -> None:
    raw = palette([2, 254, 16], [np.array([65535, 0], "<u2"), np.array([0, 0], "<u2"), np.array([0, 65535], "<u2")])
    path = write(tmp_path, np.array([[0, 100], [254, 255]], np.uint8), {"PixelPresentation": "COLOR", "raw": raw})
    picture = DicomImage(path).render()
    assert picture[0].tolist() == [[0] * 3, [100] * 3]
    assert picture[1].tolist() == [[255, 0, 0], [0, 0, 255]]


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (16, [0, 2, 0, 65535, 1, 4, 257, 2, 1, 4, 0]),
        (8, [0, 2, 0, 255, 1, 4, 1, 2, 1, 4, 0, 0, 0, 0]),
    ],
)
def test_segmented_palette_is_expanded(tmp_path: Path, bits: int, words: list[int]) -> None:
    """Two discrete entries, a ramp of four, and the ramp again, from the 4 words at an offset in bytes."""
    if bits == 16:
        words[9] *= 2
    data = np.array(words, np.uint8 if bits == 8 else "<u2").tobytes()
    raw: Elements = [(0x00281101 + number, "US", [10, 0, bits]) for number in range(3)]
    raw += [(0x00281221 + number, "OW", data) for number in range(3)]
    path = write(tmp_path, np.arange(10, dtype=np.uint8).reshape(2, 5), {**PALETTE_COLOR, "raw": raw})
    assert DicomImage(path).render()[..., 0].ravel().tolist() == [0, 255, 192, 128, 64, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("words", [[0, 9, 1], [1, 4, 0], [7, 1, 1]])
def test_damaged_segmented_palette_is_rejected(tmp_path: Path, words: list[int]) -> None:
    raw: Elements = [(0x00281101 + number, "US", [10, 0, 16]) for number in range(3)]
    raw += [(0x00281221 + number, "OW", np.array(words, "<u2").tobytes()) for number in range(3)]
    with pytest.raises(InputError, match="a damaged segmented palette"):
        DicomImage(write(tmp_path, U8, {**PALETTE_COLOR, "raw": raw})).render()


@pytest.mark.parametrize(
    ("options", "remark"),
    [
        ({"Rows": 20}, "the pixel data are too short"),
        ({"Rows": 12}, "bytes longer than its frames need"),
        ({"WindowCenter": 40, "WindowWidth": 0}, "its window is not valid"),
        ({"ShutterShape": "CIRCULAR"}, "left out: display shutter"),
        ({"raw": [*overlay(BITS[0], [1, 1]), (0x60000040, "CS", "R")]}, "left out: overlay 6000"),
        ({"raw": overlay(None, [1, 1])[:4]}, "left out: overlay 6000"),
    ],
)
def test_omissions_from_an_image_are_reported(tmp_path: Path, options: dict[str, Any], remark: str) -> None:
    image = DicomImage(write(tmp_path, U8, options))
    image.render()
    assert [remark in text for text in image.remarks] == [True]


def test_montage_reports_how_many_frames_it_shows(tmp_path: Path) -> None:
    image = DicomImage(write(tmp_path, np.stack([U8] * 96), {"NumberOfFrames": 96}))
    assert image.render_montage().shape == (128, 128)
    assert image.remarks == ["the montage shows 64 of 96 frames"]
