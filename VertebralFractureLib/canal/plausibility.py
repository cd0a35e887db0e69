"""Check on the bony canal whether what was found is a spine and whether the file's geometry can be true.

A spine has a vertebral body in front of its canal. And a wrong spacing squeezes or stretches the canal to a shape and a
size that it has at no level and in no disease. Both are measured on voxels and not by the network, which has learned
what vertebrae look like and would see what it expects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.canal.axial_stack import AxialStack
from VertebralFractureLib.canal.bony_canal import (
    measure_bone_around,
    measure_canal_walls,
    measure_content_over_soft_hu,
    measure_filled_fraction,
)
from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.canal.curve import SliceBoxes
from VertebralFractureLib.errors import CanalFilled, ImplausibleGeometry, NoSpineFound
from VertebralFractureLib.thresholds import CANAL_PLAUSIBILITY
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume

ADVICE = "export the series again from its source, with its geometry"


def check_content(ct: CTVolume, centerline: Centerline, boxes: SliceBoxes) -> None:
    """Refuse a CT myelogram by its name: the network was not taught a canal that is as dense as bone.

    Raises:
        CanalFilled: when contrast medium fills the canal along much of the curve.
    """
    tuned = CANAL_PLAUSIBILITY
    positions = centerline.positions_ras(np.arange(0.0, centerline.length_mm, tuned.content_step_mm))
    # A child's canal is nearly as wide as an adult's, so that the disc shrinks less than the vertebrae.
    size = float(np.clip(measure_vertebra_width_mm(boxes) / tuned.adult_vertebra_mm, tuned.smallest_disc, 1.0))
    if measure_filled_fraction(ct, positions, size) >= tuned.most_filled_fraction:
        raise CanalFilled(
            "Along much of its length the canal that was found is as dense as bone or contrast medium, as in a CT "
            "myelogram or with a wrong voxel spacing, so that the spine cannot be followed reliably; use a CT without "
            "contrast medium in the canal, and with its true spacing."
        )


def check_bone_around(stack: AxialStack, boxes: SliceBoxes, mean_probability: float) -> None:
    """Compare what lies around the found positions with a spine; on the stack, where noise is averaged out.

    Args:
        mean_probability: the network's own, along the path.

    Raises:
        NoSpineFound: when there is no vertebral body on any side of them: marrow of a long bone, a gap between
            muscles, a vessel. All four sides count, for a patient may lie on the front without the header saying so.
            And when what it runs through is fat.
    """
    tuned = CANAL_PLAUSIBILITY
    if measure_content_over_soft_hu(stack.as_volume(), boxes.heights_mm, _centers(boxes)) < tuned.lowest_content_hu:
        raise NoSpineFound(
            "No spinal canal was found: the likeliest place is filled with fat, as the marrow of a long bone is; "
            "check that this is a CT that shows the spine."
        )
    size = float(np.clip(measure_vertebra_width_mm(boxes) / tuned.adult_vertebra_mm, tuned.smallest_size, 1.0))
    sides = measure_bone_around(stack.as_volume(), boxes.heights_mm, _centers(boxes), size)
    if any(dense >= tuned.least_dense and slices >= tuned.least_slices_with_bone for dense, slices in sides):
        return
    on_three_sides = sorted(slices for _, slices in sides)[1] >= tuned.least_slices_on_three_sides
    if on_three_sides and mean_probability >= tuned.least_probability_on_three_sides:
        return
    raise NoSpineFound(
        "No spinal canal was found: the likeliest places have no vertebrae beside them; "
        "check that this is a CT that shows the spine."
    )


@dataclass(frozen=True)
class CanalSection:
    """What the bony canal measures across the curve: medians over the slices that show all four walls.

    ``flat_fraction`` of them are as flat as in the neck.
    """

    width_mm: float
    depth_mm: float
    aspect: float
    flat_fraction: float


def measure_canal_section(ct: CTVolume, boxes: SliceBoxes) -> CanalSection | None:
    """Measure width and depth of the bony canal; None where too few slices show all four of its walls."""
    tuned = CANAL_PLAUSIBILITY
    centers = _centers(boxes)
    walls = measure_canal_walls(ct, boxes.heights_mm, centers, tuned.nearest_wall_mm, tuned.farthest_wall_mm)
    # An axial plane cuts a leaning canal longer than it is: the cosine of the lean takes that back.
    lean = np.arctan(np.gradient(centers, boxes.heights_mm, axis=0))
    width, depth = ((walls[:, [1, 3]] - walls[:, [0, 2]]) * np.cos(lean)).T
    closed = np.isfinite(width) & np.isfinite(depth)
    if closed.sum() < tuned.least_slices:
        return None
    width, depth = width[closed], depth[closed]
    aspect = width / depth
    flat = float(np.mean(aspect >= tuned.neck_aspect))
    return CanalSection(float(np.median(width)), float(np.median(depth)), float(np.median(aspect)), flat)


def is_like_a_neck(section: CanalSection | None, vertebra_width_mm: float) -> bool:
    """Whether most of the canal is as flat as in the neck, where vertebrae follow each other more closely."""
    tuned = CANAL_PLAUSIBILITY
    if section is None or vertebra_width_mm > tuned.widest_neck_vertebra_mm:
        return False
    return section.flat_fraction >= tuned.least_flat_fraction


def _is_impossible(section: CanalSection) -> bool:
    """Whether shape and size of the canal together are those of no level and no disease.

    Neither is enough alone: the canal of the neck, and of a narrowed lumbar spine, is up to twice as wide as deep, and
    one that bone was lost around is as deep as wide. A wrong spacing makes the canal too large or too small as well.
    """
    tuned = CANAL_PLAUSIBILITY
    if section.aspect < tuned.lowest_aspect:
        return section.width_mm < tuned.narrowest_canal_mm or section.depth_mm > tuned.deepest_canal_mm
    if section.aspect > tuned.highest_aspect:
        return section.width_mm > tuned.widest_canal_mm or section.depth_mm < tuned.shallowest_canal_mm
    return False


def check_anatomy(ct: CTVolume, boxes: SliceBoxes) -> None:
    """Compare the found spine with what a human spine can measure.

    Raises:
        ImplausibleGeometry: when the spacing in the file cannot be true, or the patient lies on the side unsaid.
    """
    tuned = CANAL_PLAUSIBILITY
    if len(boxes.heights_mm) < tuned.least_slices:
        return
    section = measure_canal_section(ct, boxes)
    if section is not None:
        if section.aspect < tuned.lateral_decubitus_aspect:
            _check_position(ct, boxes)
        if _is_impossible(section):
            raise ImplausibleGeometry(
                f"The voxel spacing in the file cannot be true: the spinal canal measures {section.width_mm:.0f} mm "
                f"across and {section.depth_mm:.0f} mm from front to back, which no spine does; {ADVICE}."
            )
    across = measure_vertebra_width_mm(boxes)
    if not tuned.narrowest_vertebra_mm <= across <= tuned.widest_vertebra_mm:
        raise ImplausibleGeometry(
            f"The voxel spacing in the file cannot be true: the vertebrae measure {across:.0f} mm across; {ADVICE}."
        )


def _check_position(ct: CTVolume, boxes: SliceBoxes) -> None:
    """Distinguish lateral decubitus from a wrong spacing, once the canal is deeper than wide.

    Raises:
        ImplausibleGeometry: when the vertebral bodies lie lateral of the canal and not in front of it or behind it.
    """
    tuned = CANAL_PLAUSIBILITY
    sides = measure_bone_around(ct, boxes.heights_mm, _centers(boxes))
    left, right, behind, in_front = (dense for dense, _ in sides)
    dense, slices = max(sides[:2])
    is_body = dense >= tuned.least_dense and slices >= tuned.least_slices_with_bone
    if not is_body or dense < tuned.more_lateral_bone * max(behind, in_front):
        return
    side = "right" if right > left else "left"
    raise ImplausibleGeometry(
        f"The patient lies on the side and the file does not say so: the vertebral bodies lie where it says the {side} "
        "of the body is; set the patient position of the series, or turn the volume by 90 degrees, and try again."
    )


def measure_vertebra_width_mm(boxes: SliceBoxes) -> float:
    return float(np.median(boxes.vertebra_ras[:, 1] - boxes.vertebra_ras[:, 0]))


def _centers(boxes: SliceBoxes) -> FloatArray:
    """R and A ``(n, 2)`` of the middle of the canal's boxes."""
    return np.asarray(0.5 * (boxes.canal_ras[:, [0, 2]] + boxes.canal_ras[:, [1, 3]]))
