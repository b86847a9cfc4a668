"""Write `dicom_expectations.json`: what DCMTK reads in every DICOM file of pydicom and of pydicom-data.

Run it again when files are added: `python tests/make_expectations.py` (needs Debian's package dcmtk).
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from dicom_files import dicom_files
from dicom_header import read_header
from dicom_image import DicomImage
from errors import InputError

TABLE = Path(__file__).with_name("dicom_expectations.json")
TAGS = {"0010,0010": "patient_name", "0008,0020": "study_date", "0008,0060": "modality"}
SAMPLES = 8  # per axis
JPEG = "lossy JPEG: decoders round and interpolate colour differently"
# Files for which section 1 and DCMTK differ by more than one grey level: the tolerance, and the reason.
TOLERANCES = {
    "JPGExtended.dcm": (3, JPEG),
    "JPEG-lossy.dcm": (3, JPEG),
    "SC_rgb_dcmtk_+eb+cy+n1.dcm": (2, JPEG),
    "SC_rgb_dcmtk_+eb+cy+np.dcm": (2, JPEG),
    "SC_rgb_jpeg_lossy_gdcm.dcm": (2, JPEG),
    "examples_ybr_color.dcm": (3, JPEG),
    "color3d_jpeg_baseline.dcm": (5, JPEG),
    "SC_ybr_full_uncompressed.dcm": (2, "DCMTK centres chroma at 127.5, PS3.3 C.7.6.3.1.2 at 128"),
}
# Files that DCMTK cannot decode, or decodes differently: the file with the same image, the tolerance, and the reason.
NO_J2K = "DCMTK has no JPEG 2000 decoder; compared with the same image uncompressed"
BIG_ENDIAN = "DCMTK swaps 16-bit words in 32-bit pixels; compared with the same image in little endian"
SAME_IMAGE = {
    **{f"{name}_J2KR.dcm": (f"{name}_UNCR.dcm", 1, NO_J2K) for name in ("693", "MR2", "RG1", "RG3", "US1")},
    **{f"{name}_J2KI.dcm": (f"{name}_UNCI.dcm", 2, NO_J2K) for name in ("693", "MR2", "RG1", "RG3", "US1")},
    "JPEG2000.dcm": ("JPEG2000_UNC.dcm", 2, NO_J2K),
    "MR_small_jp2klossless.dcm": ("MR_small.dcm", 1, NO_J2K),
    "emri_small_jpeg_2k_lossless.dcm": ("emri_small.dcm", 1, NO_J2K),
    "rtdose_expb.dcm": ("rtdose.dcm", 1, BIG_ENDIAN),
    "rtdose_expb_1frame.dcm": ("rtdose_1frame.dcm", 1, BIG_ENDIAN),
}


def dump_fields(path: Path) -> dict[str, str] | None:
    """Return patient's name, study date and modality by dcmdump; None where it cannot read the file.

    Section 1 removes empty groups at the end of a name, and the dots of an ACR-NEMA date (1993.04.30).
    """
    process = subprocess.run(["dcmdump", "-q", "+L", "+U8", path], capture_output=True, check=False)
    if process.returncode:
        return None
    text = process.stdout.decode(errors="replace")
    elements = re.findall(r"^\(([0-9a-f,]{9})\) (\S\S) (\(no value available\)|\[.*?\]) +#", text, re.MULTILINE)
    values = {tag: "" if value.startswith("(no") else value[1:-1].rstrip().rstrip("=") for tag, _, value in elements}
    if re.fullmatch(r"\d{4}\.\d\d\.\d\d", values.get("0008,0020", "")):
        values["0008,0020"] = values["0008,0020"].replace(".", "")
    return {name: values[tag] for tag, name in TAGS.items() if tag in values}


def image_options(path: Path) -> list[str]:
    """Return the options with which DCMTK shows what section 1 shows: the first VOI LUT or window, else the range."""
    dataset = read_header(path).dataset
    if dataset.get("VOILUTSequence"):
        return ["+Wl", "1"]
    return ["+Wi", "1"] if dataset.get("WindowCenter") not in (None, "") else ["+Wm"]


def render_with_dcmtk(path: Path) -> NDArray[np.uint8] | str:
    """Return DCMTK's image of the first frame, or its error."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "image.pnm")
        for command in ("dcmj2pnm", "dcml2pnm"):
            command_line = [command, *image_options(path), path, target]
            process = subprocess.run(command_line, capture_output=True, check=False)
            if process.returncode == 0 and target.exists():
                with Image.open(target) as image:
                    return np.asarray(image)
    return process.stderr.decode(errors="replace").strip().splitlines()[-1].partition(": reading file")[0][:100]


def summarize(picture: NDArray[np.uint8]) -> dict[str, Any]:
    """Return the shape, the mean and a grid of sample values of an image."""
    rows, columns = (np.linspace(0, size - 1, SAMPLES).astype(int) for size in picture.shape[:2])
    samples = picture[np.ix_(rows, columns)].ravel().tolist()
    return {"shape": list(picture.shape), "mean": round(float(picture.mean()), 2), "samples": samples}


def expect(path: Path, files: dict[str, Path]) -> dict[str, Any]:
    """Return the table's entry for a file."""
    entry: dict[str, Any] = {"fields": dump_fields(path)}
    try:
        picture = DicomImage(path).render()
    except InputError as error:
        entry["error"] = error.problem
        picture = None
    try:
        read_header(path)
    except InputError:
        return entry
    if path.name in SAME_IMAGE:
        name, entry["tolerance"], entry["reason"] = SAME_IMAGE[path.name]
        entry["image"] = summarize(np.asarray(render_with_dcmtk(files[name])))
    elif "error" not in entry or "holds no pixels" not in entry["error"]:
        expected = render_with_dcmtk(path)
        if not isinstance(expected, str):
            tolerance = TOLERANCES.get(path.name)
            entry |= {"image": summarize(expected)} | (
                {"tolerance": tolerance[0], "reason": tolerance[1]} if tolerance else {}
            )
            if picture is not None and picture.shape != expected.shape:
                entry["image"], entry["reason"] = summarize(picture), "DCMTK ignores the supplemental palette"
        elif picture is not None:
            entry |= {
                "image": summarize(picture),
                "reason": f"not decoded by DCMTK ({expected}): the image of section 1",
            }
    return entry


def main() -> int:
    """Write the table."""
    if shutil.which("dcmdump") is None:
        print("dcmdump is missing: apt install dcmtk", file=sys.stderr)
        return 1
    files = dicom_files()
    by_name = {path.name: path for path in files.values()}
    lines = [f"{json.dumps(name)}: {json.dumps(expect(path, by_name))}" for name, path in files.items()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
