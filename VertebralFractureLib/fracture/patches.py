"""Ordered 3D patches along the centerline, and the positional encoding of each for the sequence model.

A patch follows the canal, but inside it space is either bent with the canal (``STRAIGHTENED``) or rigid in the patient
(``SAGITTAL``), because straightening a kyphosis lengthens the front of the bodies and so hides a part of a wedge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from VertebralFractureLib.cpr import ReformatFrame, StraightenedVolume
from VertebralFractureLib.torch_arrays import to_tensor
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.volume.hu_windows import FRACTURE_NETWORKS
from VertebralFractureLib.volume.sampling import sample_tensor

if TYPE_CHECKING:
    import torch


STRAIGHTENED = "straightened"
SAGITTAL = "sagittal"
STRIDE_MM = 6.0
"""Distance of neighboring patches: at least one center falls into every body that is 6 mm high or more."""
_OUTSIDE_VALUE = 0.0
_LATTICE = (7, 4, 3)
CODE_PERIODS_MM = (192.0, 384.0, 768.0)
"""Not shorter: an encoding that resolves single millimeters lets a small training set be learned by heart."""
_BEND_BASE_MM = 14.0
CODE_LENGTH = 4 * len(CODE_PERIODS_MM) + 2


@dataclass(frozen=True)
class PatchGrid:
    """Sampling of one patch, axes in the order (s, a, r).

    Attributes:
        representation: ``STRAIGHTENED`` or ``SAGITTAL``.
        shape: number of samples.
        spacing_mm: distance of the samples.
        first_anterior_mm: anterior coordinate of the first sample; s and r are centered on the patch.
        smoothing: odd number of voxels that are averaged along each axis of the spine volume before sampling.
    """

    representation: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    first_anterior_mm: float
    smoothing: tuple[int, int, int]

    @property
    def axes_mm(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Coordinates (s relative to the center, a, r) of the samples."""
        (count_s, count_a, count_r), (step_s, step_a, step_r) = self.shape, self.spacing_mm
        along = step_s * (np.arange(count_s, dtype=np.float64) - 0.5 * (count_s - 1))
        right = step_r * (np.arange(count_r, dtype=np.float64) - 0.5 * (count_r - 1))
        return along, self.first_anterior_mm + step_a * np.arange(count_a, dtype=np.float64), right

    @staticmethod
    def from_config(config: dict[str, Any]) -> PatchGrid:
        tuples = {key: tuple(config[key]) for key in ("shape", "spacing_mm", "smoothing")}
        return PatchGrid(**{**config, **tuples})


def list_patch_positions(frame: ReformatFrame) -> FloatArray:
    """Arc lengths ``(n,)`` of the patch centers: every ``STRIDE_MM``, centered on the frame's range."""
    first, last = frame.range_mm
    count = int((last - first) // STRIDE_MM) + 1
    return first + 0.5 * (last - first - STRIDE_MM * (count - 1)) + STRIDE_MM * np.arange(count, dtype=np.float64)


def lay_patch_points(frame: ReformatFrame, positions_mm: FloatArray, grid: PatchGrid) -> Float32Array:
    """Straight coordinates ``(n, S, A, R, 3)``, last axis (r, a, s) in mm, of the samples of every patch.

    For ``SAGITTAL`` the rigid grid is mapped exactly on a coarse lattice and linearly between its nodes; the error of
    that is below 0.1 mm for the curvature of a spine.
    """
    along, anterior, right = grid.axes_mm
    if grid.representation == STRAIGHTENED:
        points = np.empty((len(positions_mm), *grid.shape, 3), dtype=np.float32)
        points[..., 0] = right
        points[..., 1] = anterior[:, None]
        points[..., 2] = (positions_mm[:, None] + along)[:, :, None, None]
        return points
    if grid.representation != SAGITTAL:
        raise ValueError(f"Unknown representation '{grid.representation}'; use '{STRAIGHTENED}' or '{SAGITTAL}'.")
    nodes = [np.linspace(axis[0], axis[-1], count) for axis, count in zip(grid.axes_mm, _LATTICE, strict=True)]
    local_s, local_a, local_r = np.meshgrid(*nodes, indexing="ij")
    rows = [
        np.stack([np.interp(positions_mm, frame.s_mm, table[:, d]) for d in range(3)], axis=1)
        for table in _tables(frame)
    ]
    origin, right_ras, anterior_ras = (row[:, None, None, None] for row in rows)
    normal_ras = np.cross(right_ras, anterior_ras)
    ras = origin + local_r[..., None] * right_ras + local_a[..., None] * anterior_ras + local_s[..., None] * normal_ras
    lattice = frame.ras_to_straight(ras.reshape(-1, 3)).reshape(ras.shape)
    for axis, (fine, coarse) in enumerate(zip(grid.axes_mm, nodes, strict=True)):
        lattice = np.tensordot(lattice, _linear_weights(fine, coarse), axes=([1 if axis == 0 else axis + 1], [1]))
        lattice = np.moveaxis(lattice, -1, axis + 1)
    return np.ascontiguousarray(lattice, dtype=np.float32)


def _tables(frame: ReformatFrame) -> tuple[FloatArray, FloatArray, FloatArray]:
    return frame.origin_ras, frame.right_ras, frame.anterior_ras


def _linear_weights(fine: FloatArray, coarse: FloatArray) -> FloatArray:
    """``(len(fine), len(coarse))`` weights of linear interpolation."""
    return np.stack([np.interp(fine, coarse, unit) for unit in np.eye(len(coarse))], axis=1)


def sample_patches(spine: StraightenedVolume, points: Float32Array, grid: PatchGrid) -> torch.Tensor:
    """Patches ``(n, 2, S, A, R)`` float32: scaled HU, and the fraction that lies inside the field of view.

    Outside the field of view the first channel is 0, a value that bone and air do not have.
    """
    import torch

    inside = to_tensor(spine.inside.astype(np.float32))
    scaled = to_tensor(FRACTURE_NETWORKS.normalize(np.asarray(spine.hu, dtype=np.float32)))
    volume = torch.stack([scaled * inside, inside])[None]
    for axis, width in enumerate(grid.smoothing):
        volume = _running_mean(volume, axis + 2, width)
    # In single precision, as the points are: they are many.
    origin, spacing = (np.asarray(values, dtype=np.float32) for values in (spine.origin_mm, spine.spacing_mm))
    index = np.asarray((points - origin) / spacing, dtype=np.float32)
    values = sample_tensor(volume, index.reshape(1, 1, -1, points.shape[-2], 3), beyond="zeros")
    patches = values.reshape(2, len(points), *grid.shape).transpose(0, 1).contiguous()
    weight = patches[:, 1:].clamp_min(1e-3)
    patches[:, :1] = torch.where(patches[:, 1:] > 0.05, patches[:, :1] / weight, _OUTSIDE_VALUE)
    return patches


def _running_mean(volume: torch.Tensor, axis: int, width: int) -> torch.Tensor:
    """Mean of ``width`` (odd) neighbors along an axis, zeros beyond the ends; sums of slices beat 3D pooling here."""
    count, reach = volume.shape[axis], width // 2
    total = volume.clone() if reach else volume
    for shift in range(1, reach + 1):
        total.narrow(axis, 0, count - shift).add_(volume.narrow(axis, shift, count - shift))
        total.narrow(axis, shift, count - shift).add_(volume.narrow(axis, 0, count - shift))
    return total.div_(width) if reach else total


def encode_positions(frame: ReformatFrame, positions_mm: FloatArray) -> Float32Array:
    """The paper's ``L_i``, ``(n, CODE_LENGTH)``: where each patch lies and how the canal bends there.

    Sines and cosines of the distance in mm from the caudal and from the cranial end (periods 192 to 768 mm, the
    form of Vaswani et al. 2017), the fraction of the way, and the kyphotic angle in radians over 28 mm, divided by 0.3.
    """
    first, last = frame.range_mm
    columns = []
    for distance in (positions_mm - first, last - positions_mm):
        for period in CODE_PERIODS_MM:
            columns += [np.sin(2.0 * np.pi * distance / period), np.cos(2.0 * np.pi * distance / period)]
    columns.append(2.0 * (positions_mm - first) / max(last - first, 1.0) - 1.0)
    columns.append(measure_kyphotic_angle(frame, positions_mm) / 0.3)
    return np.stack(columns, axis=1).astype(np.float32)


def measure_kyphotic_angle(frame: ReformatFrame, positions_mm: FloatArray) -> FloatArray:
    """Angle in radians ``(n,)`` by which the canal bends forward between 14 mm below and 14 mm above each position."""
    normal, anterior = frame.normal_ras, frame.anterior_ras
    below, here, above = (
        np.clip(np.rint(positions_mm + shift - frame.s_mm[0]).astype(int), 0, len(frame.s_mm) - 1)
        for shift in (-_BEND_BASE_MM, 0.0, _BEND_BASE_MM)
    )
    upper = np.einsum("nd,nd->n", normal[above], anterior[here])
    lower = np.einsum("nd,nd->n", normal[below], anterior[here])
    return np.asarray(np.arcsin(np.clip(upper, -1.0, 1.0)) - np.arcsin(np.clip(lower, -1.0, 1.0)))
