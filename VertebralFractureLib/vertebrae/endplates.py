"""From the maps of the body network to six landmarks, the walls and the endplates of a body, below a pixel's size.

The endplate is traced column by column as one smooth path (a tilted or cupped endplate is no straight line), and the
landmarks follow the vertebra's own tilt, so that a height is the distance between endplates and not along the canal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.thresholds import ENDPLATES, MID_PLANE
from VertebralFractureLib.types import FloatArray, IntArray
from VertebralFractureLib.vertebrae.body_input import ANTERIOR_FROM_MM, COLUMNS
from VertebralFractureLib.vertebrae.sequence_search import Span

ENDPLATE_POINTS = 24
"""Along each endplate: 1 to 2 mm apart, as far as the network's maps tell."""


@dataclass(frozen=True)
class BodyShape:
    """A body on a sagittal plane, mm.

    Attributes:
        a_posterior, a_anterior: the walls at mid height.
        landmarks: ``(6, 2)`` of (a, s): anterior, middle, posterior of the upper endplate, then of the lower one.
        endplates: ``(2, ENDPLATE_POINTS, 2)`` of (a, s): the upper endplate from wall to wall, anterior first, then
            the lower one; None where only the landmarks are known.
    """

    a_posterior: float
    a_anterior: float
    landmarks: FloatArray
    endplates: FloatArray | None = None

    @property
    def greatest_height_mm(self) -> float:
        """The greatest of the heights at front, middle and back."""
        return float(np.linalg.norm(self.landmarks[:3] - self.landmarks[3:], axis=1).max())


def list_column_positions() -> FloatArray:
    """a in mm of the maps' columns."""
    return ANTERIOR_FROM_MM + np.arange(COLUMNS, dtype=np.float64)


def find_mid_depth(body: FloatArray) -> FloatArray:
    """a of the bodies' middle for every row ``(n,)``, from the body map ``(n, 96)``, smooth along s."""
    tuned = ENDPLATES
    a = list_column_positions()
    weight = np.where((a > tuned.depth_from_anterior_mm) & (body > tuned.depth_from_probability), body, 0.0)
    mass, moment = _running_sum(weight.sum(axis=1)), _running_sum((weight * a).sum(axis=1))
    known = mass > tuned.depth_from_mass
    if not known.any():
        return np.full(len(body), MID_PLANE.pivot_mm)
    rows = np.arange(len(body))
    return np.asarray(np.interp(rows, rows[known], moment[known] / mass[known]))


def _running_sum(values: FloatArray) -> FloatArray:
    return np.convolve(values, np.ones(2 * int(ENDPLATES.window_mm) + 1), mode="same")


def average_strip(values: FloatArray, middle: FloatArray) -> FloatArray:
    """Mean of a map ``(n, 96)`` over the columns within 4 mm of ``middle`` ``(n,)``."""
    near = np.abs(list_column_positions()[None] - middle[:, None]) <= ENDPLATES.strip_mm
    return np.asarray((values * near).sum(axis=1) / near.sum(axis=1))


def measure_shape(
    maps: FloatArray, s_from_mm: float, span: Span, middle: float, edge_outward_mm: float = 0.0
) -> BodyShape | None:
    """Walls and landmarks of one body; None when its depth is implausible.

    Args:
        maps: ``(3, rows, 96)`` probabilities: body, upper edge, lower edge.
        s_from_mm: arc length of row 0.
        span: where the body begins and ends at mid depth.
        middle: a of the body's middle.
        edge_outward_mm: added to both endplates, away from the body.
    """
    tuned = ENDPLATES
    a = list_column_positions()
    height = span.s_superior_mm - span.s_inferior_mm
    center = 0.5 * (span.s_superior_mm + span.s_inferior_mm)
    rows = s_from_mm + np.arange(maps.shape[1], dtype=np.float64)
    band = np.abs(rows - center) <= max(0.2 * height, 1.0)
    walls = _walls(maps[0][band].mean(axis=0), a, middle)
    if walls is None:
        return None
    a_post, a_ant = walls
    if a_ant - a_post < tuned.minimum_depth_mm:
        return None
    columns = np.flatnonzero((a >= a_post) & (a <= a_ant))
    reach = (center + 1.5, span.s_superior_mm + tuned.search_mm)
    upper = _trace(
        maps[1], rows, columns, (max(reach[0], span.s_superior_mm - tuned.search_mm), reach[1]), middle - a[0]
    )
    reach = (span.s_inferior_mm - tuned.search_mm, center - 1.5)
    lower = _trace(
        maps[2], rows, columns, (reach[0], min(reach[1], span.s_inferior_mm + tuned.search_mm)), middle - a[0]
    )
    x = a[columns]
    curves = (np.stack([x, upper + edge_outward_mm], axis=1), np.stack([x, lower - edge_outward_mm], axis=1))
    return shape_of_curves(*curves, (a_post, a_ant), height)


def shape_of_curves(upper: FloatArray, lower: FloatArray, walls: tuple[float, float], height_mm: float) -> BodyShape:
    """The shape of a body whose endplates run through the points ``upper`` and ``lower``.

    Args:
        upper, lower: ``(n, 2)`` of (a, s) in mm, a ascending.
        walls: a of the posterior and the anterior one, at mid height.
        height_mm: at mid depth.
    """
    tuned = ENDPLATES
    a_post, a_ant = walls
    tilt = 0.5 * float(np.polyfit(upper[:, 0], upper[:, 1], 1)[0] + np.polyfit(lower[:, 0], lower[:, 1], 1)[0])
    lean = float(np.clip(tilt, -tuned.steepest, tuned.steepest)) * 0.5 * height_mm
    columns_mm = np.array([a_ant - tuned.anterior_inset_mm, 0.5 * (a_ant + a_post), a_post + tuned.posterior_inset_mm])
    top, bottom = columns_mm - lean, columns_mm + lean
    points = [(at, _local(upper, at)) for at in top] + [(at, _local(lower, at)) for at in bottom]
    along = np.linspace(a_ant, a_post, ENDPLATE_POINTS)
    endplates = [
        np.stack([at, _continue_path(path, tilt, at)], axis=1)
        for at, path in ((along - lean, upper), (along + lean, lower))
    ]
    return BodyShape(a_post, a_ant, np.array(points), np.array(endplates))


def _continue_path(path: FloatArray, slope: float, at: FloatArray) -> FloatArray:
    """s of the path ``(n, 2)`` at other places; beyond its ends it goes on with the slope, to a leaning wall."""
    x, s = path.T
    beyond = np.minimum(at - x[0], 0.0) + np.maximum(at - x[-1], 0.0)
    return np.asarray(np.interp(at, x, s) + slope * beyond)


def _walls(profile: FloatArray, a: FloatArray, middle: float) -> tuple[float, float] | None:
    """Half-maximum crossings of the body's profile over a, outward from the middle."""
    level = ENDPLATES.wall_level
    seed = int(np.clip(round(middle - a[0]), 1, len(a) - 2))
    if profile[seed] < level:
        near = np.arange(max(seed - 6, 1), min(seed + 7, len(a) - 1))
        seed = int(near[profile[near].argmax()])
        if profile[seed] < level:
            return None
    back, front = seed, seed
    while back > 0 and profile[back - 1] >= level:
        back -= 1
    while front < len(a) - 1 and profile[front + 1] >= level:
        front += 1
    a_post, a_ant = float(a[back]), float(a[front])
    if back > 0:
        a_post -= float((profile[back] - level) / max(profile[back] - profile[back - 1], 1e-6))
    if front < len(a) - 1:
        a_ant += float((profile[front] - level) / max(profile[front] - profile[front + 1], 1e-6))
    return a_post, a_ant


def _trace(
    edge: FloatArray, rows: FloatArray, columns: IntArray, reach: tuple[float, float], middle: float
) -> FloatArray:
    """s of the endplate in every column: the best path that moves by at most one row a column, then refined."""
    tuned = ENDPLATES
    near = np.flatnonzero((rows >= reach[0]) & (rows <= reach[1]))
    if len(near) < 2:
        return np.full(len(columns), 0.5 * (reach[0] + reach[1]))
    gain = np.log(np.clip(edge[np.ix_(near, columns)], tuned.edge_floor, 1.0))
    gain = gain * np.where(np.abs(columns - middle) <= tuned.strip_mm, tuned.middle_weight, 1.0)[None]
    score = gain[:, 0].copy()
    came = np.zeros(gain.shape, dtype=np.intp)
    index = np.arange(len(near))
    for column in range(1, len(columns)):
        options = np.stack([np.roll(score, 1) - tuned.step_cost, score, np.roll(score, -1) - tuned.step_cost])
        options[0, 0], options[2, -1] = -np.inf, -np.inf
        choice = options.argmax(axis=0)
        came[:, column] = np.clip(index + choice - 1, 0, len(near) - 1)
        score = options[choice, index] + gain[:, column]
    path = np.empty(len(columns), dtype=np.intp)
    path[-1] = int(score.argmax())
    for column in range(len(columns) - 1, 0, -1):
        path[column - 1] = came[path[column], column]
    return np.array([_refine(edge[:, c], rows, int(near[p])) for c, p in zip(columns, path, strict=True)])


def _refine(profile: FloatArray, rows: FloatArray, at: int) -> float:
    """Center of mass of the squared edge probability within 3 rows."""
    part = slice(max(at - ENDPLATES.refine_rows, 0), at + ENDPLATES.refine_rows + 1)
    weight = profile[part] ** 2 + 1e-9
    return float((weight * rows[part]).sum() / weight.sum())


def _local(path: FloatArray, at: float) -> float:
    """Mean s of the path ``(n, 2)`` near ``at``; of the nearest columns when that lies beyond the traced ones."""
    x, s = path.T
    near = np.abs(x - at) <= ENDPLATES.local_mm
    if not near.any():
        near = np.abs(x - at) <= np.abs(x - at).min() + ENDPLATES.local_mm
    return float(s[near].mean())
