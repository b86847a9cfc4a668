"""The default analysis against numpy on the complete array, and at its limits."""

import contextlib
import io
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from analysis.contract import Context, UnprocessableError
from analysis.default import analyse
from analysis.rendering import render
from analysis.windowing import decode_frame, render_values
from system import instance

NAMES = [
    *("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "liver_1frame.dcm"),
    *("SC_rgb_jpeg_dcmtk.dcm", "examples_rgb_color.dcm", "rtdose.dcm", "JPGExtended.dcm"),
]


@pytest.mark.parametrize("name", NAMES)
def test_results_match_the_complete_array(name: str) -> None:
    path = get_testdata_file(name, download=False)
    assert path
    values = pydicom.pixels.pixel_array(path, raw=True).astype(float)
    with Path(path).open("rb") as file:
        figures, picture = analyse(file, Context())
    low = min(values.min(), 0.0)
    span = values.max() - low
    expected = {
        "average_before_normalization": values.mean(),
        "average_after_normalization": ((values - low) / span).mean() if span else 0.0,
        "data_size": values.size,
        "minimum": values.min(),
        "maximum": values.max(),
        "standard_deviation": values.std(),
    }
    assert {key: figures[key] for key in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert sum(figures["histogram"]["counts"]) == values.size
    assert len(figures["frames"]) == figures["number_of_frames"]
    assert Image.open(io.BytesIO(picture)).format == "PNG"


def test_an_instance_without_pixels_has_a_result_that_says_so() -> None:
    path = Path(str(get_testdata_file("reportsi.dcm", download=False)))
    with path.open("rb") as file:
        assert analyse(file, Context()) == ({"pixel_data": False}, b"")


def test_frames_of_single_bits_may_end_inside_a_byte() -> None:
    bits = np.random.default_rng(1).integers(0, 2, (3, 5, 7), np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes() + b"\0"
    shape: dict[str, Any] = {"Rows": 5, "Columns": 7, "NumberOfFrames": 3, "PixelRepresentation": 0}
    single: dict[str, Any] = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "WindowCenter": 0.5, "WindowWidth": 1}
    file = io.BytesIO(instance(PixelData=packed, **shape, **single)[1])
    figures, picture = analyse(file, Context())
    assert [one["average_before_normalization"] for one in figures["frames"]] == pytest.approx(bits.mean((1, 2)))
    assert picture
    for index in range(3):
        file.seek(0)
        assert (decode_frame(file, index) == bits[index]).all()


def frames(count: int, **changes: Any) -> io.BytesIO:
    pixels = np.arange(256 * 256, dtype=np.uint16).reshape(256, 256)
    made = {"Rows": 256, "Columns": 256, "NumberOfFrames": count, "PixelRepresentation": 0}
    return io.BytesIO(instance(PixelData=np.stack([pixels] * count).tobytes(), **made | changes)[1])


def test_hundreds_of_frames_take_the_memory_of_a_few() -> None:
    peaks = []
    for count in (4, 200):
        file = frames(count)
        tracemalloc.start()
        assert analyse(file, Context())[0]["number_of_frames"] == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 20e6


@pytest.mark.parametrize(
    "changes",
    [
        {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 1000},
        {"Rows": 0},
        {"Rows": 300},
        {"NumberOfFrames": 50},
        {"BitsAllocated": 12},
        {"SamplesPerPixel": 3},
        {"PhotometricInterpretation": "NONSENSE", "SamplesPerPixel": 2},
    ],
)
def test_a_header_that_does_not_fit_its_pixels_is_unprocessable(changes: dict[str, Any]) -> None:
    with pytest.raises(UnprocessableError):
        analyse(io.BytesIO(instance(**changes)[1]), Context())


def float_image(*values: float) -> io.BytesIO:
    """A float image of one row with these values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(instance()[1]))
        for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
            del dataset[keyword]
        dataset.Rows, dataset.Columns, dataset.BitsAllocated = 1, len(values), 32
        dataset.FloatPixelData = np.array(values, np.float32).tobytes()
        target = io.BytesIO()
        dataset.save_as(target)
    target.seek(0)
    return target


def test_values_that_are_not_finite_are_counted_and_left_out() -> None:
    figures, picture = analyse(float_image(1.0, float("nan"), 3.0, float("inf")), Context())
    assert (figures["minimum"], figures["maximum"], figures["data_size"], figures["not_finite"]) == (1.0, 3.0, 2, 2)
    assert Image.open(io.BytesIO(picture)).size == (4, 1)


def test_an_image_without_a_finite_value_has_no_statistics() -> None:
    figures, picture = analyse(float_image(float("nan"), float("nan")), Context())
    assert (figures["data_size"], figures["not_finite"], "minimum" in figures) == (0, 2, False)
    assert picture


def decodable() -> list[Path]:
    """Files of pydicom's wheel whose pixels pydicom decodes, from the data set."""
    found = []
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")):
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            if dataset.pixel_array.size:
                found.append(path)
    return found


def test_every_file_that_pydicom_decodes_is_processed_and_drawn() -> None:
    paths = decodable()
    assert len(paths) > 50
    failed = []
    for path in paths:
        with path.open("rb") as file:
            try:
                figures, picture = analyse(file, Context())
                drawn = Image.open(io.BytesIO(picture)).size
            except UnprocessableError as error:
                failed.append(f"{path.name}: {error}")
                continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frames_of_it = int(pydicom.dcmread(path).get("NumberOfFrames") or 1)
        if figures["number_of_frames"] != frames_of_it or max(drawn) > 512:
            failed.append(f"{path.name}: {figures['number_of_frames']} frames, {drawn}")
    assert failed == []


def test_a_palette_is_drawn_in_its_colours() -> None:
    path = Path(str(get_testdata_file("examples_palette.dcm", download=False)))
    dataset = pydicom.dcmread(path)
    expected = (pydicom.pixels.apply_color_lut(dataset.pixel_array, dataset) >> 8).astype(np.uint8)
    assert np.array_equal(render_values(dataset.pixel_array, dataset), expected)


def test_rendering_a_frame_takes_a_few_times_its_memory() -> None:
    file = io.BytesIO(instance(Rows=2048, Columns=4096, PixelData=bytes(16 << 20))[1])
    tracemalloc.start()
    render(file, 0, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 96 << 20
