"""Map a straight volume without changing its noise texture: smooth structure and fine texture are sampled apart.

Interpolation between voxels and blending of two copies average the texture away, and a network could tell a mapped body
by that. What interpolation takes follows from the correlation of neighboring voxels, measured on the volume itself;
what blending takes is measured on the copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.types import BoolArray, Float32Array
from VertebralFractureLib.volume.sampling import sample_tensor

_STRUCTURE_MM = 2.5
"""Standard deviation of the Gaussian that separates structure from texture; voxels are 1 mm."""
_POWER_MM, _MOST_GAIN = 2.0, 2.0
_MARGIN_MM = 4.0
_LEAST_CORRELATION, _MOST_CORRELATION = 0.05, 0.999


@dataclass(frozen=True)
class Layers:
    """A volume ``[k, j, i]`` as the sum of ``structure`` and ``texture``, and where it lies ``inside`` the scan.

    ``along_s``, ``along_a``: correlation of the texture of neighboring voxels along the axes that a map moves.
    """

    structure: Float32Array
    texture: Float32Array
    inside: BoolArray
    along_s: float
    along_a: float

    @staticmethod
    def of(
        hu: Float32Array,
        inside: BoolArray,
        origin_mm: tuple[float, float, float],
        boxes: Sequence[BodyBox],
    ) -> Layers:
        structure = hu
        for axis in range(3):
            structure = blurred(structure, _STRUCTURE_MM, axis)
        texture = hu - structure
        along_s, along_a = _neighbor_correlations(texture, origin_mm, boxes)
        return Layers(structure, texture, inside, along_s, along_a)

    @property
    def hu(self) -> Float32Array:
        return self.structure + self.texture

    def with_rows(self, first: int, part: Layers) -> Layers:
        """A copy with the rows from ``first`` on exchanged."""
        arrays = {}
        for name in ("structure", "texture", "inside"):
            arrays[name] = getattr(self, name).copy()
            arrays[name][first : first + len(part.inside)] = getattr(part, name)
        return replace(self, **arrays)

    def sampled(self, k: Float32Array, j: Float32Array) -> Layers:
        """The layers at rows ``k`` and columns ``j``, ``[k, j, i]``; i stays, and the texture keeps its strength."""
        size_s, size_a, size_r = self.structure.shape
        within = (k > -0.5) & (k < size_s - 0.5)
        k, j = np.clip(k, 0.0, size_s - 1.001), np.clip(j, 0.0, size_a - 1.001)
        first, last = int(k.min()), min(int(k.max()) + 2, size_s)
        both = torch.from_numpy(np.stack([self.structure[first:last], self.texture[first:last]]))[None]
        i = np.broadcast_to(np.arange(size_r, dtype=np.float32), k.shape)
        found = sample_tensor(both, np.stack([i, j, k - first], axis=-1)[None])[0].numpy()
        kept = _kept_variance(k % 1.0, self.along_s) * _kept_variance(j % 1.0, self.along_a)
        if not self.inside.all():
            row, column = np.rint(k).astype(np.int32), np.rint(j).astype(np.int32)
            within &= self.inside[row, column, np.arange(size_r)]
        return replace(
            self, structure=found[0], texture=np.asarray(found[1] / np.sqrt(kept), dtype=np.float32), inside=within
        )

    def blended(self, copies: Sequence[tuple[Float32Array, Layers]]) -> Layers:
        """Copies of one place with their weights (of sum 1), as one.

        The texture keeps the power that it has in the copies around, however much of it the average would take away.
        """
        structure, texture, power = (np.zeros_like(copies[0][1].texture) for _ in range(3))
        inside = np.ones(texture.shape, dtype=np.bool_)
        for weight, layers in copies:
            structure += weight * layers.structure
            texture += weight * layers.texture
            power += weight * _power(layers.texture)
            inside &= layers.inside | (weight <= 0.0)
        gain = np.sqrt(power / np.maximum(_power(texture), 1e-3))
        return replace(self, structure=structure, texture=texture * np.clip(gain, 1.0, _MOST_GAIN), inside=inside)


def _power(texture: Float32Array) -> Float32Array:
    """Mean square within a few mm in the plane across s."""
    power = texture**2
    for axis in (1, 2):
        power = blurred(power, _POWER_MM, axis)
    return power


def blurred(values: Float32Array, sigma: float, axis: int = 0) -> Float32Array:
    """``values`` after a Gaussian of ``sigma`` voxels along an axis."""
    reach = int(np.ceil(2.0 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    moved = np.moveaxis(values, axis, 0)
    padded = np.pad(moved, ((reach, reach), (0, 0), (0, 0)), mode="edge")
    result = np.zeros_like(moved)
    for index, weight in enumerate(weights / weights.sum()):
        result += np.float32(weight) * padded[index : index + len(moved)]
    return np.moveaxis(result, 0, axis)


def _kept_variance(share: Float32Array, correlation: float) -> Float32Array:
    """Variance of ``(1 - w) x + w y`` over that of x and y, for correlated texture."""
    return np.asarray(1.0 - 2.0 * share * (1.0 - share) * np.float32(1.0 - correlation), dtype=np.float32)


def _neighbor_correlations(
    texture: Float32Array, origin_mm: tuple[float, float, float], boxes: Sequence[BodyBox]
) -> tuple[float, float]:
    """Along s and a, median over the bodies' insides; near 1 (nothing is made good) where there is no texture."""
    found = []
    for box in boxes:
        bounds = ((box.s_inf, box.s_sup), (box.a_post, box.a_ant), (box.r_left, box.r_right))
        window = tuple(
            slice(max(round(low + _MARGIN_MM - origin), 0), max(round(high - _MARGIN_MM - origin), 0))
            for (low, high), origin in zip(bounds, origin_mm[::-1], strict=True)
        )
        inner = texture[window]
        if min(inner.shape) >= 3 and float(inner.var()) > 1.0:
            power = float((inner**2).mean())
            found.append(
                (float((inner[1:] * inner[:-1]).mean()) / power, float((inner[:, 1:] * inner[:, :-1]).mean()) / power)
            )
    if not found:
        return _MOST_CORRELATION, _MOST_CORRELATION
    along_s, along_a = np.clip(np.median(found, axis=0), _LEAST_CORRELATION, _MOST_CORRELATION)
    return float(along_s), float(along_a)
