"""Pictures, beside those that DCMTK makes of the same files."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileDataset

from dicom_image import Picture, picture_of
from errors import InputError
from support import PICTURES, Run, ct_image, peer, saved

# Of what DCMTK's dcmj2pnm and dcml2pnm decode: native, RLE, JPEG, JPEG-LS; grey with and without a window, inverted,
# rescaled, 8 to 32 bits, palette, RGB and YBR, several frames.
COMPARED = [
    "CT_small.dcm",
    "JPEGLSNearLossless_16.dcm",
    "JPGExtended.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "dicomdirtests/77654033/CR1/6154",
    "dicomdirtests/77654033/CT2/17106",
    "dicomdirtests/98892003/MR1/4919",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "examples_ybr_color.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "rtdose.dcm",
]


def picture_by_dcmtk(path: Path, folder: Path, *options: str) -> Picture:
    target = folder / "peer.pnm"
    for command in ("dcmj2pnm", "dcml2pnm"):
        done = subprocess.run([peer(command, "dcmtk"), *options, path, target], capture_output=True, check=False)
        if done.returncode == 0 and target.exists():
            with Image.open(target) as picture:
                return np.asarray(picture)
    pytest.fail(f"DCMTK makes no picture of {path}: {done.stderr.decode(errors='replace')}")


@pytest.mark.parametrize("name", COMPARED)
def test_a_picture_is_that_of_dcmtk_to_three_grey_levels(name: str, tmp_path: Path) -> None:
    path = PICTURES / name
    windowed = "WindowCenter" in dataset_of(path)
    theirs = picture_by_dcmtk(path, tmp_path, *(("+Wi", "1") if windowed else ("+Wm",)))
    ours = picture_of(path)
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 3


def dataset_of(path: Path) -> FileDataset:
    from pydicom import dcmread

    return dcmread(path, stop_before_pixels=True)


def test_a_window_can_be_chosen(tmp_path: Path) -> None:
    path = PICTURES / "dicomdirtests/77654033/CT2/17106"
    theirs = picture_by_dcmtk(path, tmp_path, "+Ww", "40", "400")
    assert np.abs(picture_of(path, window=(40, 400)).astype(int) - theirs.astype(int)).max() <= 3


def test_monochrome1_is_dark_where_its_values_are_high(tmp_path: Path) -> None:
    path = saved(ct_image(PhotometricInterpretation="MONOCHROME1"), tmp_path)
    assert picture_of(path).tolist() == [[255, 191], [127, 0]]


def test_padding_does_not_stretch_the_range(tmp_path: Path) -> None:
    path = saved(ct_image(PixelPaddingValue=0, PixelData=bytes([0, 100, 150, 200])), tmp_path)
    assert picture_of(path)[0, 1] == 0
    assert picture_of(path)[1, 1] == 255


def test_a_flat_image_is_black_not_an_error(tmp_path: Path) -> None:
    assert not picture_of(saved(ct_image(PixelData=bytes([7] * 4)), tmp_path)).any()


def test_a_frame_is_chosen_by_its_number_from_one(tmp_path: Path) -> None:
    path = saved(ct_image(NumberOfFrames=2, PixelData=bytes([0, 0, 0, 9, 9, 0, 0, 0])), tmp_path)
    assert picture_of(path, 1).tolist() == [[0, 0], [0, 255]]
    assert picture_of(path, 2).tolist() == [[255, 0], [0, 0]]


@pytest.mark.parametrize("frame", [0, 3])
def test_a_frame_that_is_not_there_is_refused(tmp_path: Path, frame: int) -> None:
    path = saved(ct_image(NumberOfFrames=2, PixelData=bytes(8)), tmp_path)
    with pytest.raises(InputError, match="has no frame"):
        picture_of(path, frame)


def test_the_command_writes_a_picture(tmp_path: Path, run: Run) -> None:
    target = tmp_path / "ct.png"
    assert run("dicom", PICTURES, "CT_small.dcm", "--image", target).status == 0
    with Image.open(target) as picture:
        assert picture.size == (128, 128)


def test_a_montage_has_every_frame(tmp_path: Path, run: Run) -> None:
    path = saved(ct_image(NumberOfFrames=3, PixelData=bytes([0, 9, 0, 9, 9, 0, 9, 0, 9, 9, 0, 0])), tmp_path)
    target = tmp_path / "all.png"
    assert run("dicom", path, "--image", target, "--montage").status == 0
    with Image.open(target) as picture:
        assert picture.size == (4, 4)


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("CT_small.dcm", "none/ct.png", "cannot be written"),
        ("CT_small.dcm", "ct.xyz", "names no picture format"),
        ("rtplan.dcm", "plan.png", "holds no pixels"),
        ("MR_truncated.dcm", "cut.png", "cannot be decoded"),
        ("meta_missing_tsyntax.dcm", "missing.png", "cannot be decoded"),
    ],
)
def test_what_makes_no_picture_is_one_logged_line(
    tmp_path: Path, run: Run, name: str, target: str, message: str
) -> None:
    outcome = run("dicom", PICTURES, name, "--image", tmp_path / target)
    assert outcome.status == 1
    assert message in outcome.log[-1]
    assert not (tmp_path / target).exists()


def test_a_header_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    path = saved(ct_image(Rows=65535, Columns=65535, NumberOfFrames=1000), tmp_path)
    with pytest.raises(InputError, match="cannot be decoded"):
        picture_of(path)
