"""Statistics of a region that a reader draws in the viewer."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.http import require_GET
from numpy.typing import NDArray

from analysis import rendering
from archive.object_store import object_key, open_object
from portal.selectors import get_instance
from portal.studies import parse_number

SHAPES = ("ellipse", "rectangle")


@dataclass(frozen=True)
class Region:
    """An ellipse or a rectangle, parallel to the edges of the image.

    Attributes:
        shape: one of SHAPES.
        box: left, top, right and bottom in pixels; the first pixel reaches from 0 to 1.

    """

    shape: str
    box: tuple[float, float, float, float]

    @property
    def size(self) -> float:
        """Return the area in pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top) * (math.pi / 4 if self.shape == "ellipse" else 1)

    def select(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values of the pixels whose centres are inside; without any, that of the nearest pixel."""
        left, top, right, bottom = self.box
        y, x = (np.arange(count) + 0.5 for count in values.shape)
        across, down = (x - (left + right) / 2) / (right - left) * 2, (y - (top + bottom) / 2) / (bottom - top) * 2
        if self.shape == "ellipse":
            inside = across**2 + down[:, np.newaxis] ** 2 <= 1
        else:
            inside = (np.abs(across) <= 1) & (np.abs(down[:, np.newaxis]) <= 1)
        found: NDArray[Any] = values[inside]
        return found if found.size else values[np.abs(down).argmin(), np.abs(across).argmin()].reshape(1)


@require_GET
@login_required
def show_statistics(request: HttpRequest, instance_id: int) -> JsonResponse:
    """Return mean, deviation, range and area of a region of a frame, counted from 0.

    The address names the region: `shape=ellipse&box=10_20_40_60`, left, top, right and bottom.
    """
    image, region = get_instance(request, instance_id), parse_region(request)
    frame = parse_number(request, "frame") or 0
    with open_object(object_key(image.sha256)) as file:
        spacing, detector = rendering.find_spacing(file, frame)
        file.seek(0)
        try:
            values, unit = rendering.read_values(file, frame)
        except rendering.RenderingError as error:
            raise Http404(str(error)) from None
    area = region.size * math.prod(spacing or [1])
    found = summarize(region.select(values)) if values is not None else {}
    return JsonResponse({"unit": unit, "area": area, "millimetres": bool(spacing), "detector": detector, **found})


def parse_region(request: HttpRequest) -> Region:
    """Parse the region in the address."""
    shape = request.GET.get("shape", "")
    try:
        left, top, right, bottom = (float(text) for text in request.GET.get("box", "").split("_"))
    except ValueError:
        left = top = right = bottom = 0
    if shape not in SHAPES or not (0 <= left < right < 1e6 and 0 <= top < bottom < 1e6):
        raise BadRequest("shape must be ellipse or rectangle, box LEFT_TOP_RIGHT_BOTTOM in pixels")
    return Region(shape, (left, top, right, bottom))


def summarize(values: NDArray[np.float64]) -> dict[str, float]:
    """Return count, mean, standard deviation (of the population), minimum and maximum of the finite values."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {}
    figures = {"mean": finite.mean(), "deviation": finite.std(), "minimum": finite.min(), "maximum": finite.max()}
    return {"count": int(finite.size), **{name: float(value) for name, value in figures.items()}}
