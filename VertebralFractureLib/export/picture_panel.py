"""One sagittal view of the overview: a thin slab of the CT in a spine frame, and where the patient's points lie in it.

The CT is sampled at the panel's own pixels, so nothing is scaled twice. As radiologists read sagittal views, anterior
is on the left and the head on top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.cpr import VIRTUAL_SAGITTAL, ReformatFrame
from VertebralFractureLib.cpr.straighten import sample_straight
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.hu_windows import OVERVIEW_DISPLAY

_SLAB_MM = (-2.0, 0.0, 2.0)
_OUTSIDE_GRAY = 0.075


@dataclass(frozen=True)
class Box:
    """A rectangle of the canvas in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class SagittalPanel:
    """A view placed on the canvas.

    Attributes:
        frame: what (r, a, s) means.
        anterior_mm, s_mm: ranges (low, high) that the view covers.
        box: where it lies on the canvas.
        pixels_per_mm: the same in both directions.
    """

    frame: ReformatFrame
    anterior_mm: tuple[float, float]
    s_mm: tuple[float, float]
    box: Box
    pixels_per_mm: float

    def straight_to_pixel(self, points_straight: FloatArray) -> FloatArray:
        """``(n, 2)`` canvas pixels (x, y) of ``(n, 3)`` points (r, a, s)."""
        x = self.box.left + (self.anterior_mm[1] - points_straight[:, 1]) * self.pixels_per_mm - 0.5
        y = self.box.top + (self.s_mm[1] - points_straight[:, 2]) * self.pixels_per_mm - 0.5
        return np.stack([x, y], axis=1)

    def ras_to_pixel(self, points_ras: FloatArray) -> FloatArray:
        """``(n, 2)`` canvas pixels (x, y) of ``(n, 3)`` RAS points."""
        return self.straight_to_pixel(self.frame.ras_to_straight(points_ras))

    def gray(self, ct: CTVolume) -> Float32Array:
        """The view as gray values from 0 to 1, ``(box.height, box.width)``, row 0 on top, anterior in column 0."""
        step = 1.0 / self.pixels_per_mm
        origin = (
            _SLAB_MM[0],
            self.anterior_mm[1] - (self.box.width - 0.5) * step,
            self.s_mm[1] - (self.box.height - 0.5) * step,
        )
        shape = (self.box.height, self.box.width, len(_SLAB_MM))
        hu, inside = sample_straight(ct, self.frame, origin, (_SLAB_MM[1] - _SLAB_MM[0], step, step), shape)
        gray = OVERVIEW_DISPLAY.normalize(hu.mean(axis=2))
        gray[~inside.any(axis=2) | np.isnan(gray)] = _OUTSIDE_GRAY
        return np.ascontiguousarray(gray[::-1, ::-1])


def fit_panel(
    frame: ReformatFrame, anterior_mm: tuple[float, float], s_mm: tuple[float, float], room: Box
) -> SagittalPanel:
    """The largest view of the given extent that fits into ``room``, centered in it, with equal scales both ways."""
    wide, high = anterior_mm[1] - anterior_mm[0], s_mm[1] - s_mm[0]
    scale = min(room.width / wide, room.height / high)
    width, height = max(1, int(wide * scale)), max(1, int(high * scale))
    box = Box(room.left + (room.width - width) // 2, room.top + (room.height - height) // 2, width, height)
    return SagittalPanel(frame, anterior_mm, s_mm, box, scale)


def middle_frame(
    ct: CTVolume, right_mm: float | None = None
) -> tuple[ReformatFrame, tuple[float, float], tuple[float, float]]:
    """The patient's sagittal plane at R = ``right_mm`` (None: the volume's middle), with its extents along A and S."""
    k, j, i = ct.shape_kji
    corners = np.array([(x, y, z) for x in (-0.5, i - 0.5) for y in (-0.5, j - 0.5) for z in (-0.5, k - 0.5)])
    points = ct.ijk_to_ras_points(corners)
    low, high = points.min(axis=0), points.max(axis=0)
    middle = 0.5 * (low + high)
    if right_mm is not None:
        middle[0] = right_mm
    half, length = 0.5 * float(high[1] - low[1]), float(high[2] - low[2])
    s = np.array([0.0, length])
    origin = np.array([[middle[0], middle[1], low[2]], [middle[0], middle[1], high[2]]])
    axes = np.eye(3)
    frame = ReformatFrame(VIRTUAL_SAGITTAL, s, origin, np.tile(axes[0], (2, 1)), np.tile(axes[1], (2, 1)))
    return frame, (-half, half), (0.0, length)
