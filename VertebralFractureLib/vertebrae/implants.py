"""See metal, cement and dense contrast medium in and around a body, and bodies whose bone is gone.

Both are told from the density of bone: nothing of a spine is as dense as metal, and a body that holds soft tissue where
its neighbors hold bone is destroyed, or is no body at all. Cement can be less dense than metal; sclerosis and bone
islands can then be as dense as cement, so that neither is told from the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.thresholds import IMPLANTS
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.vertebrae.localization import LocalizedBody


@dataclass(frozen=True)
class BodyDensity:
    """What is dense in and around one body, and what of it is bone.

    Attributes:
        metal_mm3: denser than bone can be, in the body, its arch, and the discs beside it.
        hiding_mm3: the same without what lies behind the canal, as rods do.
        metal_within_mm3: within the body, denser than bone can be.
    cement_mm3: within the body, as dense as cement and denser than nearly all sclerosis.
        dense_mm3: within the body, as dense as thin cement, sclerosis, or the bone of a hyperostosis.
        core_hu: mean in the middle half of depth and height; NaN where the body was not traced.
        shell_hu: ``(4,)`` lower and upper endplate, posterior and anterior wall: the densest within 2 to 3 mm, median.
    """

    metal_mm3: float
    hiding_mm3: float
    metal_within_mm3: float
    cement_mm3: float
    dense_mm3: float
    core_hu: float
    shell_hu: FloatArray


def measure_density(spine: StraightenedVolume, body: LocalizedBody) -> BodyDensity:
    """Look at a body on a 1 mm straightened volume; one that was not traced has an adult's usual depth."""
    tuned = IMPLANTS
    low, high = body.span.s_inferior_mm, body.span.s_superior_mm
    shape = body.shape
    back, front = (shape.a_posterior, shape.a_anterior) if shape is not None else tuned.untraced_mm
    middle_s, middle_a, half_s, half_a = (
        0.5 * (low + high),
        0.5 * (back + front),
        0.5 * (high - low),
        0.5 * (front - back),
    )
    s, a, r = spine.axis_mm("s"), spine.axis_mm("a"), np.abs(spine.axis_mm("r"))

    def part(rows: BoolArray, columns: BoolArray, lateral_mm: float) -> FloatArray:
        box = np.ix_(rows, columns, r <= lateral_mm)
        return np.where(spine.inside[box], spine.hu[box], np.nan).astype(np.float64)

    disc, inset = tuned.disc_mm, tuned.cortex_mm
    around = part(
        (s >= low - disc) & (s <= high + disc), (a >= -tuned.arch_mm) & (a <= front + inset), tuned.lateral_mm
    )
    within = part((s >= low + inset) & (s <= high - inset), (a >= back + inset) & (a <= front - inset), tuned.body_mm)
    ahead = around[:, a[(a >= -tuned.arch_mm) & (a <= front + inset)] >= 0.0]
    metal, hiding, metal_within, cement, dense = (
        float(np.count_nonzero(values > hu))
        for values, hu in (
            *((around, tuned.metal_hu), (ahead, tuned.metal_hu)),
            *((within, tuned.metal_hu), (within, tuned.cement_hu), (within, tuned.dense_hu)),
        )
    )
    core, shell = np.nan, np.full(4, np.nan)
    if shape is not None:
        near_s, near_a = np.abs(s - middle_s), np.abs(a - middle_a)
        core = _mean(part(near_s <= 0.5 * half_s, near_a <= 0.5 * half_a, tuned.core_mm))
        for index, end in enumerate((low, high)):
            plate = part(np.abs(s - end) <= tuned.plate_mm, near_a <= 0.7 * half_a, tuned.core_mm)
            shell[index] = _median_of_densest(plate, 0)
        for index, wall in enumerate((back, front), start=2):
            plate = part(near_s <= 0.6 * half_s, np.abs(a - wall) <= tuned.wall_mm, tuned.core_mm)
            shell[index] = _median_of_densest(plate, 1)
    return BodyDensity(metal, hiding, metal_within, cement, dense, core, shell)


def _mean(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _median_of_densest(values: FloatArray, axis: int) -> float:
    """Median over the lines along ``axis`` of the densest point of each; NaN where nothing is known."""
    if values.size == 0:
        return float("nan")
    densest = np.where(np.isfinite(values), values, -np.inf).max(axis=axis)
    known = densest[np.isfinite(densest)]
    return float(np.median(known)) if len(known) else float("nan")


def find_metal_beside(densities: Sequence[BodyDensity]) -> list[bool]:
    """Whether metal, cement or dense contrast medium lies in each body or beside it."""
    return [one.metal_mm3 >= IMPLANTS.metal_from_mm3 or one.cement_mm3 >= IMPLANTS.cement_from_mm3 for one in densities]


def find_metal_within(densities: Sequence[BodyDensity]) -> list[bool]:
    """Whether so much in each body, or beside or before it, is denser than any bone that it is not judged."""
    tuned = IMPLANTS
    return [one.hiding_mm3 >= tuned.hidden_by_mm3 or one.metal_within_mm3 >= tuned.cement_from_mm3 for one in densities]


def find_implanted(densities: Sequence[BodyDensity]) -> list[bool]:
    """Whether each body holds so much that is as dense as cement or metal, or has it before it, that it is not judged.

    Those that ``find_metal_within`` names are among them; of the others nobody can say whether they hold cement.
    """
    tuned = IMPLANTS
    dense = np.array([one.dense_mm3 for one in densities])
    return [
        one.hiding_mm3 >= tuned.hidden_by_mm3
        or one.cement_mm3 >= tuned.cement_from_mm3
        or one.dense_mm3 - _of_neighbors(dense, index) >= tuned.denser_by_mm3
        for index, one in enumerate(densities)
    ]


def find_destroyed(densities: Sequence[BodyDensity], is_dense: Sequence[bool] | None = None) -> list[bool]:
    """Whether each body holds soft tissue where its neighbors hold bone, inside or in two of its four walls.

    Neighbors that hold metal or cement say nothing of bone, and sclerotic ones nothing of how much of it is usual.

    Args:
        is_dense: whether each is denser than its own neighbors (``bone_change``); None: none is.
    """
    tuned = IMPLANTS
    beside, hidden = find_metal_beside(densities), find_implanted(densities)
    dense = [False] * len(densities) if is_dense is None else is_dense
    sound = np.logical_not(np.any(np.array([beside, hidden, dense], dtype=np.bool_), axis=0)).reshape(-1)
    core = np.array([one.core_hu for one in densities])
    shell = np.array([one.shell_hu for one in densities]).reshape(-1, 4)
    sound_core, sound_shell = np.where(sound, core, np.nan), np.where(sound[:, None], shell, np.nan)
    found = []
    for index in range(len(densities)):
        usual = _of_neighbors(sound_core, index)
        bone = (core[index] - tuned.soft_tissue_hu) / max(usual - tuned.soft_tissue_hu, 1.0)
        is_soft = core[index] < usual - tuned.less_dense_hu and bone < tuned.least_bone
        usual_walls = np.array([_of_neighbors(sound_shell[:, wall], index) for wall in range(4)]) - tuned.soft_tissue_hu
        walls = (shell[index] - tuned.soft_tissue_hu) / np.maximum(usual_walls, 1.0)
        found.append(bool(is_soft or np.count_nonzero(walls < tuned.least_wall) >= 2))
    return found


def _of_neighbors(values: FloatArray, index: int) -> float:
    """Median over up to ``neighbors`` on either side; NaN with fewer than two."""
    near = np.arange(max(index - IMPLANTS.neighbors, 0), min(index + IMPLANTS.neighbors + 1, len(values)))
    others = values[near[near != index]]
    others = others[np.isfinite(others)]
    return float(np.median(others)) if len(others) >= 2 else float("nan")
