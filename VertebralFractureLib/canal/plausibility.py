"""Is what was found a spine, and is the geometry of the file true? The bony canal says both.

A spine has a vertebral body in front of its canal. And the canal is about as wide as it is deep in everybody, while a
wrong spacing squeezes or stretches all that is measured with the header. Both are measured on voxels and not by the
network, which has learned what vertebrae look like and would see what it expects.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.canal.axial_stack import AxialStack
from VertebralFractureLib.canal.bony_canal import canal_walls, content_over_soft_hu, lateral_bone_fraction
from VertebralFractureLib.canal.slice_boxes import SliceBoxes
from VertebralFractureLib.errors import ImplausibleGeometry, NoSpineFound
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume

LEAST_DENSE, LEAST_SLICES_WITH_BONE = 0.24, 0.7
"""Where a body is, this share is bone, in this share of slices: 0.29 and 0.92 or more on eight scans and their changed
copies; legs and calcified vessels reach 0.18 and 0.62."""
LEAST_SLICES_ON_THREE_SIDES = 0.42
"""Porotic bodies are no denser than muscle, but their cortex, ribs and processes lie on three sides of the canal: in
0.49 of the slices or more on phantoms with 30 to 42 HU of trabecular bone; drawn legs and trunks mostly reach 0.31."""
LEAST_PROBABILITY_ON_THREE_SIDES = 0.9
"""Bone on three sides counts only where the network is sure: 0.98 or more on these phantoms; a knee with it, 0.7."""
LOWEST_CONTENT_HU = -45.0
"""Contents of the canal less the soft parts around it, upper quartile of the slices: -25 to 78 on 25 scans as they are,
shifted by 200 HU, noisy and in a narrow field of view; -18 on a phantom with much fat in its canal; -58 in the marrow
of a raised arm, which passed as a canal in every other way."""
LOWEST_ASPECT, HIGHEST_ASPECT = 0.90, 1.50
"""Width over depth of the bony canal, across its own direction, median over the slices that show all four walls.

On 25 public scans it is 1.05 to 1.27, and 1.04 to 1.36 when they are turned by 35 degrees. With the lateral spacing
false by a factor of 2.4 either way, as in a public series, it is below 0.70 or above 1.80; with the other in-plane
spacing false, 0.58 to 0.91 or above 1.70."""
NARROWEST_VERTEBRA_MM, WIDEST_VERTEBRA_MM = 14.0, 75.0
"""Median width of the vertebral column: from a small child to a very large adult."""
ADVICE = "export the series again from its source, with its geometry"
_ADULT_VERTEBRA_MM, _SMALLEST_SIZE = 35.0, 0.5
"""Vertebrae narrower than an adult's stand nearer to the canal, down to this share."""
_ASPECT_ON_THE_SIDE = 1.0
"""The canal of a patient on the side is deeper than wide. Bone beside it alone is there in a porotic spine, too."""
_MORE_BONE_BESIDE = 1.15
"""Bone beside the canal over that in front of it or behind it: 0.2 to 0.9 on 25 scans and their changed copies, 1.36 to
4.4 when they are turned onto the side."""
_NEAREST_MM, _FARTHEST_MM = 2.0, 30.0
_LEAST_SLICES = 8


def check_bone_around(stack: AxialStack, boxes: SliceBoxes, mean_probability: float) -> None:
    """Compare what lies around the found places with a spine; on the stack, where noise is averaged out.

    Args:
        mean_probability: the network's own, along the path.

    Raises:
        NoSpineFound: when there is no vertebral body on any side of them: marrow of a long bone, a gap between
            muscles, a vessel. All four sides count, for a patient may lie on the front without the header saying so.
            And when what it runs through is fat.
    """
    if content_over_soft_hu(stack.as_volume(), boxes.heights_mm, _centers(boxes)) < LOWEST_CONTENT_HU:
        raise NoSpineFound(
            "No spinal canal was found: the likeliest place is filled with fat, as the marrow of a long bone is; "
            "check that this is a CT that shows the spine."
        )
    size = float(np.clip(median_vertebra_width_mm(boxes) / _ADULT_VERTEBRA_MM, _SMALLEST_SIZE, 1.0))
    sides = lateral_bone_fraction(stack.as_volume(), boxes.heights_mm, _centers(boxes), size)
    if any(dense >= LEAST_DENSE and slices >= LEAST_SLICES_WITH_BONE for dense, slices in sides):
        return
    on_three_sides = sorted(slices for _, slices in sides)[1] >= LEAST_SLICES_ON_THREE_SIDES
    if on_three_sides and mean_probability >= LEAST_PROBABILITY_ON_THREE_SIDES:
        return
    raise NoSpineFound(
        "No spinal canal was found: the likeliest places have no vertebrae beside them; "
        "check that this is a CT that shows the spine."
    )


def check_anatomy(ct: CTVolume, boxes: SliceBoxes) -> None:
    """Compare the found spine with what a human spine can measure.

    Raises:
        ImplausibleGeometry: when the spacing in the file cannot be true, or the patient lies on the side unsaid.
    """
    if len(boxes.heights_mm) < _LEAST_SLICES:
        return
    centers = _centers(boxes)
    walls = canal_walls(ct, boxes.heights_mm, centers, _NEAREST_MM, _FARTHEST_MM)
    # An axial plane cuts a leaning canal longer than it is: the cosine of the lean takes that back.
    lean = np.arctan(np.gradient(centers, boxes.heights_mm, axis=0))
    width, depth = ((walls[:, [1, 3]] - walls[:, [0, 2]]) * np.cos(lean)).T
    closed = np.isfinite(width) & np.isfinite(depth)
    if closed.sum() >= _LEAST_SLICES:
        aspect = float(np.median(width[closed] / depth[closed]))
        if aspect < _ASPECT_ON_THE_SIDE:
            _check_position(ct, boxes)
        if not LOWEST_ASPECT <= aspect <= HIGHEST_ASPECT:
            wide, deep = float(np.median(width[closed])), float(np.median(depth[closed]))
            raise ImplausibleGeometry(
                f"The voxel spacing in the file cannot be true: the spinal canal measures {wide:.0f} mm across and "
                f"{deep:.0f} mm from front to back, which no spine does; {ADVICE}."
            )
    across = median_vertebra_width_mm(boxes)
    if not NARROWEST_VERTEBRA_MM <= across <= WIDEST_VERTEBRA_MM:
        raise ImplausibleGeometry(
            f"The voxel spacing in the file cannot be true: the vertebrae measure {across:.0f} mm across; {ADVICE}."
        )


def _check_position(ct: CTVolume, boxes: SliceBoxes) -> None:
    """Tell a patient on the side from a false spacing, once the canal is deeper than wide.

    Raises:
        ImplausibleGeometry: when the vertebral bodies lie beside the canal and not in front of it or behind it.
    """
    sides = lateral_bone_fraction(ct, boxes.heights_mm, _centers(boxes))
    left, right, behind, in_front = (dense for dense, _ in sides)
    dense, slices = max(sides[:2])
    is_body = dense >= LEAST_DENSE and slices >= LEAST_SLICES_WITH_BONE
    if not is_body or dense < _MORE_BONE_BESIDE * max(behind, in_front):
        return
    side = "right" if right > left else "left"
    raise ImplausibleGeometry(
        f"The patient lies on the side and the file does not say so: the vertebral bodies lie where it says the {side} "
        "of the body is; set the patient position of the series, or turn the volume by 90 degrees, and try again."
    )


def median_vertebra_width_mm(boxes: SliceBoxes) -> float:
    return float(np.median(boxes.vertebra_ras[:, 1] - boxes.vertebra_ras[:, 0]))


def _centers(boxes: SliceBoxes) -> FloatArray:
    """R and A ``(n, 2)`` of the middle of the canal's boxes."""
    return np.asarray(0.5 * (boxes.canal_ras[:, [0, 2]] + boxes.canal_ras[:, [1, 3]]))
