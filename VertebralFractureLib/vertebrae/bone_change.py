"""Find bodies that are denser or less dense than their neighbors, as a whole, in a focus, or under their endplates.

A dense body that kept its height is no compression fracture, and a destroyed one need not be lower yet; the networks
call many of both. What is found here is said beside their answer. It names no disease: a bone island, a hemangioma, a
Schmorl's node and a metastasis can look alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from VertebralFractureLib.thresholds import BONE_CHANGE
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.bone_map import CELLS, BoneMap
from VertebralFractureLib.vertebrae.vertebra import DensityFinding, Vertebra


def find_density_findings(maps: Sequence[BoneMap | None]) -> list[DensityFinding | None]:
    """What is dense or lucent in each body of a column, caudal to cranial.

    Args:
        maps: of the bodies; None where a body says nothing of bone: where it is cut or holds metal, and in the neck,
            which is denser by nature.
    """
    first = [_find(maps, index, set()) for index in range(len(maps))]
    changed = {index for index, finding in enumerate(first) if finding is not None}
    # A changed body makes its neighbors look changed the other way; without it they are compared again.
    return [_find(maps, index, changed) for index in range(len(maps))] if changed else first


def keeps_height(vertebra: Vertebra) -> bool | None:
    """Whether the body lost no height beyond any doubt of the measurement; None where none was measured."""
    if vertebra.height_loss is None:
        return None
    return vertebra.height_loss + (vertebra.height_loss_sd or 0.0) <= BONE_CHANGE.kept_loss


def _find(maps: Sequence[BoneMap | None], index: int, changed: set[int]) -> DensityFinding | None:
    tuned, own = BONE_CHANGE, maps[index]
    if own is None or not np.isfinite(own.hu).any():
        return None
    center = float(np.nanmedian(own.hu))
    if center >= tuned.dense_anywhere_hu:
        return DensityFinding.DENSE_BODY
    if min(_band(own.hu, at_top=False), _band(own.hu, at_top=True)) >= max(
        tuned.both_bands_hu, tuned.both_bands * max(center, 0.0)
    ):
        return DensityFinding.DENSE_BANDS
    usual = _usual(maps, index, changed)
    if usual is None:
        return None
    difference, expected = own.hu - usual, float(np.nanmedian(usual))
    shift = float(np.nanmedian(difference))
    texture = 1.4826 * float(np.nanmedian(np.abs(difference - shift)))
    if shift >= max(tuned.body_hu, tuned.body * expected):
        return DensityFinding.DENSE_BODY
    if -shift >= max(tuned.body_hu, tuned.body * expected):
        return DensityFinding.LUCENT_BODY
    dense = _largest_blob(_core(difference), max(tuned.focus_hu, tuned.focus_noise * texture)) * own.cell_mm3
    bands = (_band(difference, at_top=False), _band(difference, at_top=True))
    if min(bands) >= max(tuned.two_bands_hu, tuned.two_bands_noise * texture):
        return DensityFinding.DENSE_BANDS
    if max(bands) >= max(tuned.band_hu, tuned.band_noise * texture):
        return DensityFinding.DENSE_BAND
    if dense >= tuned.focus_mm3:
        return DensityFinding.DENSE_FOCUS
    lucent = _largest_blob(-_core(difference), max(tuned.lucent_hu, tuned.focus_noise * texture)) * own.cell_mm3
    return DensityFinding.LUCENT_FOCUS if lucent >= tuned.lucent_mm3 else None


def _usual(maps: Sequence[BoneMap | None], index: int, changed: set[int]) -> FloatArray | None:
    """Median HU, cell by cell, of the nearest neighbors on either side; None with fewer than two."""
    near: list[FloatArray] = []
    for order in (range(index - 1, -1, -1), range(index + 1, len(maps))):
        known = [one.hu for at in order if at not in changed and (one := maps[at]) is not None]
        near += known[: BONE_CHANGE.neighbors]
    if len(near) < 2:
        return None
    stack = np.stack(near)
    known_anywhere = np.isfinite(stack).any(axis=0)
    return np.where(known_anywhere, np.nanmedian(np.where(known_anywhere, stack, 0.0), axis=0), np.nan)


def _band(hu: FloatArray, *, at_top: bool) -> float:
    """How much denser the part under an endplate is than the middle, in the median over the section."""
    ends = BONE_CHANGE.band_cells
    end = hu[-ends:] if at_top else hu[:ends]
    middle = hu[ends + 1 : -ends - 1]
    columns = np.nanmean(np.where(np.isfinite(end), end, 0.0), axis=0) - np.nanmedian(
        np.where(np.isfinite(middle), middle, 0.0), axis=0
    )
    return float(np.median(_core(np.broadcast_to(columns, hu.shape))[0]))


def _core(values: FloatArray) -> FloatArray:
    """Where a focus is looked for: osteophytes and bridges, in front most, reach into the outermost cells."""
    edge, front = BONE_CHANGE.edge_cells, BONE_CHANGE.front_cells
    return values[edge : CELLS - edge, edge : CELLS - front, edge : CELLS - edge]


def _largest_blob(values: FloatArray, above: float) -> int:
    """Cells of the largest part of what exceeds ``above`` whose cells share faces."""
    import SimpleITK as sitk

    dense = np.nan_to_num(values, nan=-np.inf) > above
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(dense.astype(np.uint8))))
    return int(np.bincount(parts.ravel(), minlength=2)[1:].max())
