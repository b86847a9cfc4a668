"""Read the folder of results that a command wrote: figures.json, PNG pictures, NumPy masks, DICOM files."""

import io
import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from analysis.contract import Output, UnprocessableError
from analysis.functions import MAX_FIGURES, check_figures

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}\Z")
FIGURES = "figures.json"


def read_results(folder: Path) -> Output:
    """Read results; names that begin with a dot are ignored.

    Raises:
        UnprocessableError: something else than the files that the contract names: a link, a folder, a damaged file.

    """
    output = Output()
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not NAME.match(path.name):
            raise UnprocessableError("the command wrote a file whose name has other characters than a-z, 0-9, _ - .")
        content = read_file(path)
        if path.name == FIGURES:
            output.figures.update(parse_figures(content))
        elif path.suffix == ".png":
            output.pictures[path.stem] = check_picture(path.name, content)
        elif path.suffix == ".npy":
            output.masks[path.stem] = parse_mask(path.name, content)
        elif path.suffix == ".dcm":
            output.dicom[path.stem] = content
        else:
            raise UnprocessableError(f"the command wrote {path.name}: not {FIGURES}, .png, .npy or .dcm")
    return output


def read_file(path: Path) -> bytes:
    """Read a regular file; never one that a link names.

    Raises:
        UnprocessableError: it is something else.

    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                return file.read()
    except OSError:
        pass
    raise UnprocessableError(f"the command wrote {path.name}: not a regular file")


def parse_figures(content: bytes) -> dict[str, Any]:
    """Parse figures.

    Raises:
        UnprocessableError: not a JSON object that can be stored.

    """
    try:
        figures = orjson.loads(content[: MAX_FIGURES + 1])
    except orjson.JSONDecodeError:
        raise UnprocessableError(f"the command wrote {FIGURES}: not JSON") from None
    check_figures(figures, "in figures.json")
    return dict(figures)


def check_picture(name: str, content: bytes) -> bytes:
    """Check that a picture is a PNG.

    Raises:
        UnprocessableError: it is not.

    """
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.verify()
    except Exception:  # noqa: BLE001  # Pillow raises all kinds of errors on malformed files
        raise UnprocessableError(f"the command wrote {name}: not a PNG image") from None
    return content


def parse_mask(name: str, content: bytes) -> NDArray[np.uint8]:
    """Parse a mask; a single frame may be two-dimensional.

    Raises:
        UnprocessableError: not an array of numbers with two or three dimensions.

    """
    try:
        values = np.load(io.BytesIO(content), allow_pickle=False)
        if values.dtype.kind not in "biuf" or values.ndim not in (2, 3) or not values.size:
            raise ValueError
    except (ValueError, OSError, EOFError, AttributeError):
        raise UnprocessableError(f"the command wrote {name}: not a NumPy array of frames, rows and columns") from None
    return np.asarray(values.reshape((-1, *values.shape[-2:])) != 0, np.uint8)
