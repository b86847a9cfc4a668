"""Rendering, frames, montages and image export."""

import base64
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2K, UID, HTJ2KLossless, HTJ2KLosslessRPCL

from dicom_image import DicomImage, Picture
from errors import InputError
from support import PICTURES, Run, ct_image, require_program, save

# 8 x 8 pixels of 16 bits, row * 37 + column * 500, encoded by OpenJPH 0.26
HTJ2K_RAMP = (
    "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQkJCQ"
    "iIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFkAAf+TwAAma/YFB3QAAADAABNAABKA0PEDh3QAUAGHdADAABPAABMAyEDGAwJ0AKSk"
    "AENUAMAAKmAAFUDmzZs3qnICdQBIBEH+wBCB7LYA/9k="
)


def render_with_dcmtk(path: Path, folder: Path, *options: str) -> Picture:
    target = folder / "dcmtk.pnm"
    subprocess.run([require_program("dcmj2pnm", "dcmtk"), *options, path, target], capture_output=True, check=True)
    with Image.open(target) as image:
        return np.asarray(image)


def render(path: Path, frame: int = 1, window: tuple[float, float] | None = None) -> Picture:
    return DicomImage(path).render(frame, window)


def test_window_option_matches_dcmtk(tmp_path: Path) -> None:
    path = PICTURES / "dicomdirtests/77654033/CT2/17106"
    expected = render_with_dcmtk(path, tmp_path, "+Ww", "40", "400")
    assert np.abs(render(path, window=(40, 400)).astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("process", ["+eb", "+ee", "+es", "+ep", "+el"])
@pytest.mark.parametrize("name", ["CT_small.dcm", "SC_rgb_small_odd.dcm"])
def test_jpeg_process_matches_dcmtk(tmp_path: Path, process: str, name: str) -> None:
    """Baseline, extended, spectral selection, full progression, lossless."""
    path = tmp_path / "jpeg.dcm"
    subprocess.run([require_program("dcmcjpeg", "dcmtk"), process, PICTURES / name, path], check=True)
    expected = render_with_dcmtk(path, tmp_path, "+Wm")
    assert np.abs(render(path).astype(int) - expected.astype(int)).max() <= (3 if process == "+eb" else 1)


@pytest.mark.parametrize("syntax", [HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL])
def test_high_throughput_jpeg_2000_is_decoded(tmp_path: Path, syntax: UID) -> None:
    dataset = ct_image(Rows=8, Columns=8, BitsAllocated=16, BitsStored=16, HighBit=15)
    dataset.PixelData = encapsulate([base64.b64decode(HTJ2K_RAMP)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    ramp = np.arange(8) * 500 + np.arange(8)[:, None] * 37
    assert np.abs(render(save(dataset, tmp_path)) - ramp * (255 / ramp.max())).max() <= 0.5


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    path = save(ct_image(PhotometricInterpretation="MONOCHROME1"), tmp_path)
    assert render(path).tolist() == [[255, 191], [127, 0]]


def test_padding_pixels_are_excluded_from_the_range(tmp_path: Path) -> None:
    path = save(ct_image(PixelPaddingValue=0, PixelData=bytes([0, 100, 150, 200])), tmp_path)
    assert render(path)[0, 1] == 0
    assert render(path)[1, 1] == 255


def test_constant_image_is_black(tmp_path: Path) -> None:
    assert not render(save(ct_image(PixelData=bytes([7] * 4)), tmp_path)).any()


def test_frames_are_numbered_from_one(tmp_path: Path) -> None:
    path = save(ct_image(NumberOfFrames=2, PixelData=bytes([0, 0, 0, 9, 9, 0, 0, 0])), tmp_path)
    assert render(path, 1).tolist() == [[0, 0], [0, 255]]
    assert render(path, 2).tolist() == [[255, 0], [0, 0]]


@pytest.mark.parametrize("frame", [0, 3])
def test_frame_number_out_of_range_is_rejected(tmp_path: Path, frame: int) -> None:
    path = save(ct_image(NumberOfFrames=2, PixelData=bytes(8)), tmp_path)
    with pytest.raises(InputError, match="has no frame"):
        render(path, frame)


def test_image_option_writes_a_png(tmp_path: Path, run: Run) -> None:
    target = tmp_path / "ct.png"
    assert run("dicom", PICTURES, "CT_small.dcm", "--image", target).status == 0
    with Image.open(target) as picture:
        assert picture.size == (128, 128)


def test_montage_contains_every_frame(tmp_path: Path, run: Run) -> None:
    path = save(ct_image(NumberOfFrames=3, PixelData=bytes([0, 9, 0, 9, 9, 0, 9, 0, 9, 9, 0, 0])), tmp_path)
    target = tmp_path / "all.png"
    assert run("dicom", path, "--image", target, "--montage").status == 0
    with Image.open(target) as picture:
        assert picture.size == (4, 4)


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("CT_small.dcm", "none/ct.png", "cannot be written"),
        ("CT_small.dcm", "ct.xyz", "unknown image format"),
        ("rtplan.dcm", "plan.png", "holds no pixels"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "bad.png", "cannot be decoded"),
        ("meta_missing_tsyntax.dcm", "missing.png", "cannot be decoded"),
    ],
)
def test_failed_image_export_is_logged_and_writes_no_file(
    tmp_path: Path, run: Run, name: str, target: str, message: str
) -> None:
    outcome = run("dicom", PICTURES, name, "--image", tmp_path / target)
    assert outcome.status == 1
    assert message in outcome.log[-1]
    assert not (tmp_path / target).exists()


def test_implausible_image_size_is_rejected(tmp_path: Path) -> None:
    path = save(ct_image(Rows=65535, Columns=65535, NumberOfFrames=1000), tmp_path)
    with pytest.raises(InputError, match="cannot be decoded"):
        render(path)
