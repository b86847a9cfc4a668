"""Where frames are in the patient (PS3.3, C.7.6.2): planes, and positions of a series along its normal."""

import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pydicom
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET
from pydicom.dataset import Dataset

from archive.encryption import ObjectIntegrityError
from archive.object_store import object_key, open_object
from portal.selectors import Place, build_stack, get_series

PARALLEL = 1e-3  # largest difference of the direction cosines of one series


@dataclass(frozen=True)
class Geometry:
    """Where the frames of an image are.

    Attributes:
        frame_of_reference: the UID of the coordinate system, or an empty string.
        planes: position (3 values) and orientation (6) of each frame, in mm; empty where it states none.

    """

    frame_of_reference: str = ""
    planes: list[list[float]] = field(default_factory=list)

    def plane(self, frame: int) -> list[float]:
        """Return the plane of a frame, counted from 0; empty if it states none."""
        return self.planes[frame] if frame < len(self.planes) else []


@lru_cache(maxsize=2048)
def read_geometry(sha256: str) -> Geometry:
    """Read the planes of an image; none if it is malformed. A content never changes, so it is cached."""
    with warnings.catch_warnings(), open_object(object_key(sha256)) as file:
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(file, force=True, stop_before_pixels=True)
            reference = str(header.get("FrameOfReferenceUID") or "")
            if groups := header.get("PerFrameFunctionalGroupsSequence"):
                shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
                return Geometry(reference, [read_plane(group, shared) for group in groups])
            position, orientation = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
            plane = [float(value) for value in [*(position or []), *(orientation or [])]]
        except (ObjectIntegrityError, OSError):
            raise
        except Exception:  # noqa: BLE001  # pydicom raises all kinds of errors on malformed elements
            return Geometry()
    return Geometry(reference, [plane if len(plane) == 9 else []])


def read_plane(group: Dataset, shared: Dataset) -> list[float]:
    """Return position and orientation of a frame of functional groups, in mm; empty if it states none."""
    values: list[float] = []
    for name, keyword in (
        ("PlanePositionSequence", "ImagePositionPatient"),
        ("PlaneOrientationSequence", "ImageOrientationPatient"),
    ):
        items = group.get(name) or shared.get(name)
        values += [float(value) for value in (items[0].get(keyword) or [] if items else [])]
    return values if len(values) == 9 else []


@require_GET
@login_required
def show_positions(request: HttpRequest, series_id: int) -> JsonResponse:
    """Return where each frame of the viewer's stack is; the viewer asks for it when it shows two series."""
    return JsonResponse(find_positions(build_stack(request.user, get_series(request, series_id))))


def find_positions(stack: list[Place]) -> dict[str, Any]:
    """Return the positions of a stack of parallel planes along their normal.

    Returns:
        `reference`, the UID of the coordinate system, `normal` and `positions`, in mm; empty if a frame states no
        plane, the planes are not parallel or not in one coordinate system, or two frames are at one position.

    """
    found = [(read_geometry(place.sha256), place.frame) for place in stack]
    planes = [geometry.plane(frame) for geometry, frame in found]
    references = {geometry.frame_of_reference for geometry, _ in found}
    if not (planes and all(planes) and len(references) == 1 and "" not in references):
        return {}
    values = np.array(planes)
    if not np.isfinite(values).all() or np.abs(values[:, 3:] - values[0, 3:]).max() > PARALLEL:
        return {}
    normal = np.cross(values[0, 3:6], values[0, 6:9])
    positions = (values[:, :3] @ normal).round(3).tolist()
    if len(set(positions)) < len(positions):  # phases, or echoes
        return {}
    return {"reference": references.pop(), "normal": normal.tolist(), "positions": positions}
