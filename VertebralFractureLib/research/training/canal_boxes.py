"""What the box head learns: at every axial slice, where the walls of the canal and of the vertebra in front of it are.

The vertebra's walls come from the annotated body boxes, which are cut with the axial plane. Nobody annotated the
canal's walls, so they are measured on the scan (``canal.bony_canal``).
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import lay_frame
from VertebralFractureLib.errors import NoSpineFound
from VertebralFractureLib.research.datasets import ReferenceSpine, ReferenceVertebra
from VertebralFractureLib.types import FloatArray


def vertebra_walls(reference: ReferenceSpine, heights_mm: FloatArray, center_ras: FloatArray) -> FloatArray:
    """Walls of the vertebral column in the axial planes at ``heights_mm`` (RAS S), interpolated between the bodies.

    Args:
        center_ras: ``(n, 2)`` R and A of the canal at each height.

    Returns:
        ``(n, 4)`` lowest R, highest R, lowest A, highest A in mm from the canal's center; NaN where it is not known.
    """
    walls = np.full((len(heights_mm), 4), np.nan)
    boxed = [vertebra for vertebra in reference.vertebrae if vertebra.box is not None and vertebra.level != "S1"]
    if len(boxed) < 2:
        return walls
    try:
        frame = lay_frame(reference.centerline)
    except NoSpineFound:
        return walls
    table = np.array([_box_row(vertebra) for vertebra in boxed])
    table = table[np.argsort(table[:, 0])]
    s = np.arange(table[0, 1], table[-1, 2], 1.0)
    left, right, post, ant = (np.interp(s, table[:, 0], table[:, column]) for column in range(3, 7))
    zero, middle = np.zeros_like(s), 0.5 * (post + ant)
    for side, (r, a) in enumerate(((left, middle), (right, middle), (zero, post), (zero, ant))):
        curve = frame.straight_to_ras(np.stack([r, a, s], axis=1))
        rising = np.concatenate([[True], curve[1:, 2] > np.maximum.accumulate(curve[:, 2])[:-1] + 1e-6])
        curve, axis = curve[rising], side // 2
        at = np.interp(heights_mm, curve[:, 2], curve[:, axis], left=np.nan, right=np.nan)
        walls[:, side] = at - center_ras[:, axis]
    return walls


def _box_row(vertebra: ReferenceVertebra) -> tuple[float, ...]:
    box = vertebra.box
    assert box is not None
    return (0.5 * (box.s_inf + box.s_sup), box.s_inf, box.s_sup, box.r_left, box.r_right, box.a_post, box.a_ant)


def canal_at(centerline: Centerline, heights_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """R and A ``(n, 2)`` of the curve at each RAS S, and its arc length there ``(n,)``; its ends hold beyond them."""
    arc = np.arange(0.0, centerline.length_mm, 0.5)
    points = centerline.positions_ras(arc)
    rising = np.concatenate([[True], points[1:, 2] > np.maximum.accumulate(points[:, 2])[:-1] + 1e-6])
    arc, points = arc[rising], points[rising]
    center = np.stack([np.interp(heights_mm, points[:, 2], points[:, axis]) for axis in (0, 1)], axis=1)
    return center, np.asarray(np.interp(heights_mm, points[:, 2], arc))
