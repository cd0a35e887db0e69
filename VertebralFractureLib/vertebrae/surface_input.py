"""What the surface network sees of a vertebral body: a block around it, on its own mid plane, and where it lies there.

The block says which of the bodies in it is meant by a hint, the extent between its endplates as it was localized; the
network was taught with hints that err by millimeters, and follows the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import OUTSIDE_HU, StraightenedVolume
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.volume.hu_windows import VERTEBRA_NETWORKS
from VertebralFractureLib.volume.sampling import sample_tensor

SHAPE = (56, 56, 48)
"""Voxels along (s, a, r)."""
STEP_MM = (1.0, 1.0, 1.5)
HINT_EDGE_MM = 4.0
CHANNELS = 2


@dataclass(frozen=True)
class BodyBlock:
    """Where a block lies: straight coordinates of its middle on a sagittal plane, which it stands upright on.

    Attributes:
        plane: the mid-sagittal plane at the body's height.
        a_mm, s_mm: of the block's middle, along the plane.
        height_mm: between the endplates, as localized.
    """

    plane: MidPlane
    a_mm: float
    s_mm: float
    height_mm: float

    def points(self) -> FloatArray:
        """Straight (r, a, s) of the block's voxels ``(*SHAPE, 3)``."""
        s, a, r = block_axes_mm()
        return self.plane.straight(r[None, None, :], (a + self.a_mm)[None, :, None], (s + self.s_mm)[:, None, None])


def block_axes_mm() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coordinates of a block's voxels along (s, a, r) from its middle, mm."""
    s, a, r = (
        np.asarray(step * (np.arange(count) - 0.5 * (count - 1)), dtype=np.float64)
        for count, step in zip(SHAPE, STEP_MM, strict=True)
    )
    return s, a, r


def hint_of_extent(height_mm: float) -> Float32Array:
    """``(s,)``: from 1 inside the localized extent to -1 outside, over 4 mm to each side of an endplate."""
    s = block_axes_mm()[0]
    return np.asarray(np.clip((0.5 * height_mm - np.abs(s)) / HINT_EDGE_MM, -1.0, 1.0), dtype=np.float32)


def assemble_channels(hu: Float32Array, height_mm: float) -> Float32Array:
    """``(2, *SHAPE)``: normalized HU of the block and the hint."""
    hint = np.broadcast_to(hint_of_extent(height_mm)[:, None, None], SHAPE)
    return np.stack([VERTEBRA_NETWORKS.normalize(hu.astype(np.float32)), hint])


def build_surface_input(spine: StraightenedVolume, block: BodyBlock) -> Float32Array:
    """``(2, *SHAPE)`` of one body of a 1 mm straightened volume."""
    from VertebralFractureLib.torch_arrays import to_array, to_tensor

    index = _index_block(spine, block)
    ends = index[:: SHAPE[0] - 1, :: SHAPE[1] - 1, :: SHAPE[2] - 1]
    low = np.maximum(np.floor(ends.min(axis=(0, 1, 2))).astype(int), 0)
    high = np.maximum(np.minimum(np.ceil(ends.max(axis=(0, 1, 2))).astype(int) + 1, spine.hu.shape[::-1]), low + 1)
    part = np.ascontiguousarray(spine.hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]], dtype=np.float32)
    # Zeros beyond the volume stand for what is outside the field of view.
    images = to_tensor(part - np.float32(OUTSIDE_HU))[None, None]
    index -= low.astype(np.float32)
    hu = to_array(sample_tensor(images, index[None], beyond="zeros"))[0, 0] + np.float32(OUTSIDE_HU)
    return assemble_channels(hu, block.height_mm)


def _index_block(spine: StraightenedVolume, block: BodyBlock) -> Float32Array:
    """Voxel (i, j, k) of the block's points ``(*SHAPE, 3)``: a plane that does not turn makes them affine."""
    s, a, r = block_axes_mm()
    at = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    first, *steps = spine.straight_to_ijk_points(
        block.plane.straight(at[:, 0], at[:, 1] + block.a_mm, at[:, 2] + block.s_mm)
    )
    along_r, along_a, along_s = (
        (values[:, None] * (step - first)).astype(np.float32) for values, step in zip((r, a, s), steps, strict=True)
    )
    return np.asarray(
        along_s[:, None, None] + along_a[None, :, None] + (along_r + first.astype(np.float32))[None, None]
    )
