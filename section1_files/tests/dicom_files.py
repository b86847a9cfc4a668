"""The DICOM files of the packages pydicom and pydicom-data, located without downloading."""

import importlib.util
from pathlib import Path

import pydicom

PYDICOM_DATA = Path(pydicom.__file__).parent / "data"
NOT_DICOM = {".txt", ".json", ".dump", ".icc", ".md", ".py", ".pyc"}


def dicom_files() -> dict[str, Path]:
    """Return every file that is meant to be DICOM, by a name of the form `package/path`."""
    folders = {name: PYDICOM_DATA / name for name in ("test_files", "charset_files", "palettes")}
    spec = importlib.util.find_spec("data_store")  # the module of the package pydicom-data
    if spec is not None and spec.origin is not None:
        folders["pydicom-data"] = Path(spec.origin).parent / "data"
    return {
        f"{name}/{path.relative_to(folder)}": path
        for name, folder in folders.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in NOT_DICOM and path.name not in ("README", "no_meta.dcm")
    }
