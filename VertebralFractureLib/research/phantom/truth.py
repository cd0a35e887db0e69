"""What is true about a drawn phantom: labels, boxes, heights, landmarks and grades, all read from the drawn surfaces.

Boxes follow the reading of the reference annotations: the endplates at mid body (the lateral mean of 3 mm to each
side), the walls at mid height; so a box is a little smaller than the bounding box of a wedged or waisted body.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.cpr import ReformatFrame
from VertebralFractureLib.research.datasets import BodyBox, ReferenceVertebra
from VertebralFractureLib.research.phantom.options import PhantomOptions
from VertebralFractureLib.research.phantom.raster import Raster
from VertebralFractureLib.research.phantom.skeleton import PlacedVertebra, Skeleton
from VertebralFractureLib.types import ByteArray, FloatArray
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS
from VertebralFractureLib.volume import CTVolume

_RIM = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)


def draw_labels(labels: ByteArray, ijk_to_ras: FloatArray, skeleton: Skeleton) -> None:
    """Write the level's number into every voxel whose center lies in a body (S1 and above)."""
    raster = Raster(np.broadcast_to(np.float32(0.0), labels.shape), ijk_to_ras)
    for vertebra in skeleton.vertebrae:
        if vertebra.level not in LEVEL_NUMBERS:
            continue
        shape = vertebra.shape
        reach = shape.osteophyte_mm * 1.6 + shape.retropulsion_mm + 2.0
        half = 0.5 * vertebra.intact.plane[0] + 4.0
        side, deep = shape.half_width + reach, shape.half_depth + reach
        found = raster.local(vertebra, (-side, -deep, -half), (side, deep, half))
        if found is not None:
            window, r, a, s = found
            labels[window][shape.body_distance(r, a, s)[0] <= 0.0] = LEVEL_NUMBERS[vertebra.level]


def reference_vertebra(
    vertebra: PlacedVertebra, ct: CTVolume, frame: ReformatFrame, options: PhantomOptions
) -> ReferenceVertebra:
    """The truth of one vertebra."""
    shape = vertebra.shape
    at = np.array(shape.measuring_a)
    upper, lower = (
        plate.astype(np.float64) for plate in shape.endplates(np.zeros(3, np.float32), at.astype(np.float32))
    )
    zero = np.zeros(3)
    landmarks = vertebra.to_ras(np.concatenate([np.stack([zero, at, upper], 1), np.stack([zero, at, lower], 1)]))
    heights = shape.heights()
    flags = [name for name, present in (
        ("schmorl", bool(shape.schmorl_nodes)), ("osteophytes", shape.osteophyte_mm > 2.0),
        ("hardware", vertebra.level in options.screw_levels), ("cement", vertebra.level in options.cement_levels),
    ) if present]  # fmt: skip
    return ReferenceVertebra(
        level=vertebra.level,
        complete=_inside(vertebra, ct),
        center_ras=_triple(
            vertebra.to_ras(np.array([[0.0, 0.5 * sum(shape.walls_a), 0.5 * (upper[1] + lower[1])]]))[0]
        ),
        box=_box(vertebra, frame),
        heights_mm=heights,
        grade=shape.fracture.grade if shape.fracture else 0,
        shape=shape.fracture.shape if shape.fracture else None,
        flags=tuple(flags),
        landmarks_ras=tuple(_triple(point) for point in landmarks),
    )


def _triple(point: FloatArray) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])


def _box(vertebra: PlacedVertebra, frame: ReformatFrame) -> BodyBox:
    shape = vertebra.shape
    middle_a = shape.measuring_a[1]
    r, a = (part.ravel() for part in np.meshgrid(np.linspace(-3, 3, 5), middle_a + np.linspace(-2.5, 2.5, 5)))
    upper, lower = shape.endplates(r.astype(np.float32), a.astype(np.float32))
    tops = frame.ras_to_straight(vertebra.to_ras(np.stack([r, a, upper], 1)))[:, 2]
    bottoms = frame.ras_to_straight(vertebra.to_ras(np.stack([r, a, lower], 1)))[:, 2]
    s = 0.5 * float(upper.mean() + lower.mean())
    posterior, anterior = shape.walls_a
    posterior -= shape.retropulsion_mm
    wide = shape.half_width * (1.0 - shape.waist)
    walls = frame.ras_to_straight(
        vertebra.to_ras(np.array([[0, posterior, s], [0, anterior, s], [-wide, middle_a, s], [wide, middle_a, s]]))
    )
    return BodyBox(
        s_inf=float(np.median(bottoms)),
        s_sup=float(np.median(tops)),
        a_post=float(walls[0, 1]),
        a_ant=float(walls[1, 1]),
        r_left=float(walls[2, 0]),
        r_right=float(walls[3, 0]),
    )


def _inside(vertebra: PlacedVertebra, ct: CTVolume) -> bool:
    shape = vertebra.shape
    r, a = 0.9 * shape.half_width * np.cos(_RIM), 0.9 * shape.half_depth * np.sin(_RIM)
    upper, lower = shape.endplates(r.astype(np.float32), a.astype(np.float32))
    rim = np.concatenate([np.stack([r, a, upper], 1), np.stack([r, a, lower], 1)])
    ijk = ct.ras_to_ijk_points(vertebra.to_ras(rim))
    return bool(np.all((ijk >= -0.5) & (ijk <= np.array(ct.shape_kji[::-1]) - 0.5)))
