"""The analysis, beside numpy on the whole array, and at its limits."""

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from analysis.contract import UnprocessableError
from analysis.default import analyse
from system import instance

NAMES = [
    *("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "liver_1frame.dcm"),
    *("SC_rgb_jpeg_dcmtk.dcm", "examples_rgb_color.dcm", "rtdose.dcm", "JPGExtended.dcm"),
]


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_of_the_whole_array(name: str) -> None:
    path = get_testdata_file(name, download=False)
    assert path
    values = pydicom.pixels.pixel_array(path, raw=True).astype(float)
    with Path(path).open("rb") as file:
        figures, picture = analyse(file)
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
        assert analyse(file) == ({"pixel_data": False}, b"")


def frames(count: int, **changes: Any) -> io.BytesIO:
    pixels = np.arange(256 * 256, dtype=np.uint16).reshape(256, 256)
    made = {"Rows": 256, "Columns": 256, "NumberOfFrames": count, "PixelRepresentation": 0}
    return io.BytesIO(instance(PixelData=np.stack([pixels] * count).tobytes(), **made | changes)[1])


def test_hundreds_of_frames_take_the_memory_of_a_few() -> None:
    peaks = []
    for count in (4, 200):
        file = frames(count)
        tracemalloc.start()
        assert analyse(file)[0]["number_of_frames"] == count
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
        analyse(io.BytesIO(instance(**changes)[1]))
