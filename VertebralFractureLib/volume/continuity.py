"""Find where the planes of a stored volume do not follow each other: lost, repeated, cut out, moved, or another body's.

A file says how far apart its slices are, but not whether all of them are there. Neighboring slices of one body differ
by about as much as the next two do; slices that were cut out, a step of the table, a block out of order and a second
patient in the same volume differ by more, and slices that were filled with a constant or copied differ by nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.errors import BrokenStack
from VertebralFractureLib.thresholds import CONTINUITY
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray
from VertebralFractureLib.volume.ct_volume import CTVolume


class FaultKind(Enum):
    """What is wrong with a run of planes."""

    EMPTY = "empty"
    """They hold at most a few different values, between planes that hold an image."""
    REPEATED = "repeated"
    """They are copies of the plane before."""
    JUMP = "jump"
    """The plane after differs from the plane before by more than their neighbors do."""
    DISORDER = "disorder"
    """They would follow each other far better in another order."""


_DOUBTS = {
    FaultKind.EMPTY: DoubtKind.SLICES_EMPTY,
    FaultKind.REPEATED: DoubtKind.SLICES_REPEATED,
    FaultKind.JUMP: DoubtKind.SLICES_JUMP,
    FaultKind.DISORDER: DoubtKind.SLICES_DISORDER,
}


@dataclass(frozen=True)
class PlaneFault:
    """A run of planes that cannot be what the scanner saw, between two that can.

    Attributes:
        kind: what is wrong.
        axis: of the array ``[k, j, i]`` across the planes: 0, 1 or 2.
        before, after: indices of the last plane before and of the first one after the fault; neighbors for a jump.
        strength: of a jump: the difference over that of the neighboring pairs; 1 otherwise.
        unlike: of a jump: the difference over that of two planes ``far_mm`` apart; 0 otherwise.
    """

    kind: FaultKind
    axis: int
    before: int
    after: int
    strength: float = 1.0
    unlike: float = 0.0

    @property
    def planes(self) -> int:
        """How many planes are lost, copies, or out of order; 0 for a jump."""
        return self.after - self.before - 1 if self.kind != FaultKind.JUMP else 0

    @property
    def tears_apart(self) -> bool:
        """Whether the two sides do not show the same stretch of one body in one position."""
        return self.kind == FaultKind.JUMP and (
            self.strength >= CONTINUITY.torn_strength and self.unlike >= CONTINUITY.torn_unlike
        )


@dataclass(frozen=True)
class Continuity:
    """What was found on all planes of a volume.

    Attributes:
        faults: by axis, then ascending.
        repeats_per_plane: along each axis of the array how often every plane is stored, on the average, where the whole
            volume was made finer by repeating its planes; 1 where it was not.
        imaged: along each axis of the array the planes from the first to the last one that holds an image.
    """

    faults: tuple[PlaneFault, ...] = ()
    repeats_per_plane: tuple[float, float, float] = (1.0, 1.0, 1.0)
    imaged: tuple[slice, slice, slice] = (slice(None), slice(None), slice(None))


def refuse_broken_stack(ct: CTVolume) -> None:
    """Refuse a volume whose parts do not belong together.

    Raises:
        BrokenStack: when a plane does not continue the one before at all, with an image of some length on either side,
            or when most planes are out of order.
    """
    count = ct.hu.shape[find_slice_axis(ct)]
    disordered = sum(fault.planes for fault in ct.continuity.faults if fault.kind == FaultKind.DISORDER)
    if disordered > CONTINUITY.most_disorder * count:
        raise BrokenStack(
            f"{disordered} of {count} slices do not follow each other in the order in which they are stored, as when "
            "the slices of two series or positions alternate; export the series again, in order, and choose it alone."
        )
    for fault in ct.continuity.faults:
        count = ct.hu.shape[fault.axis]
        shorter_mm = min(fault.after, count - fault.after) * ct.spacing_mm[2 - fault.axis]
        if fault.tears_apart and shorter_mm >= CONTINUITY.shortest_part_mm:
            raise BrokenStack(
                f"Slices {fault.before + 1} and {fault.after + 1} of {count} do not show neighboring parts of one "
                "patient: slices seem to be missing or out of order, or two scans to be stacked in one volume; export "
                "the series again, complete, and choose it alone."
            )


def list_plane_doubts(ct: CTVolume) -> tuple[Doubt, ...]:
    """What is said about the scan: each fault with its place, and a volume that is coarser than it says."""
    doubts = []
    for fault in ct.continuity.faults:
        kind, measured = _DOUBTS[fault.kind], {"slices": float(fault.planes)}
        if fault.kind == FaultKind.JUMP:
            measured = {"times_the_usual_difference": round(fault.strength, 1)}
        doubts.append(Doubt(kind, {"slice_before": float(fault.before + 1), **measured}))
    factor = max(ct.continuity.repeats_per_plane)
    if factor > 1.0:
        doubts.append(Doubt(DoubtKind.SLICES_DOUBLED, {"times": round(factor, 1)}))
    return tuple(doubts)


def measure_resolution_mm(ct: CTVolume) -> tuple[float, float, float]:
    """``CTVolume.resolution_mm``, coarser where the volume was made finer by repeating its planes."""
    k, j, i = ct.continuity.repeats_per_plane
    along_i, along_j, along_k = ct.spacing_mm
    least_i, least_j, least_k = ct.resolution_mm
    return max(least_i, along_i * i), max(least_j, along_j * j), max(least_k, along_k * k)


def find_plane_faults(ct: CTVolume) -> Continuity:
    """Compare the neighboring planes of a volume along each of its three axes.

    Constant and copied planes are looked for along all axes; jumps along the axis of the slices only, because within a
    slice the edges of table and cushions are jumps, too.
    """
    faults: list[PlaneFault] = []
    repeats, imaged = [1.0, 1.0, 1.0], [slice(None)] * 3
    slices = find_slice_axis(ct)
    for axis in range(3):
        planes = np.moveaxis(ct.hu, axis, 0)
        empty = _mark_empty(planes)
        image = np.flatnonzero(~empty)
        if len(image) < 2:
            continue
        imaged[axis] = slice(int(image[0]), int(image[-1]) + 1)
        copied = _mark_copies(planes, ~empty)
        tissue = _measure_tissue(planes)
        for first, last in _runs(empty):
            inner = image[0] < first and last < image[-1]
            # Air without noise is constant, too: beside the body, and between the trunk and an arm.
            if inner and min(tissue[first - 1], tissue[last + 1]) >= CONTINUITY.least_tissue * tissue[image].max():
                faults.append(PlaneFault(FaultKind.EMPTY, axis, first - 1, last + 1))
        runs = list(_runs(copied))
        if is_resampled(copied, len(image)):
            repeats[axis] = len(image) / (len(image) - int(copied.sum()))
        else:
            faults += [PlaneFault(FaultKind.REPEATED, axis, first - 1, last + 1) for first, last in runs]
        if axis == slices:
            kept = np.flatnonzero(~empty & ~copied)
            blocks = average_planes(ct, axis, kept)
            faults += _find_jumps(ct, axis, kept, blocks, regular=repeats[axis] > 1.0)
            faults += _find_disorder(axis, kept, blocks)
    faults.sort(key=lambda fault: (fault.axis, fault.before))
    return Continuity(tuple(faults), (repeats[0], repeats[1], repeats[2]), (imaged[0], imaged[1], imaged[2]))


def find_slice_axis(ct: CTVolume) -> int:
    """The array axis along which the slices lie: the one whose spacing differs from the other two.

    Where all three are alike, it is the one along the patient's superior axis.
    """
    spacing = np.log(np.array(ct.spacing_mm[::-1]))
    apart = np.abs(spacing[:, None] - spacing[None])
    if apart.max() < np.log(1.0 + CONTINUITY.same_spacing):
        return 2 - int(np.abs(np.linalg.inv(ct.ijk_to_ras)[:3, 2]).argmax())
    others = [apart[(axis + 1) % 3, (axis + 2) % 3] for axis in range(3)]
    return int(np.argmin(others))


def is_resampled(copied: BoolArray, planes: int) -> bool:
    """Whether copies are spread evenly over the whole volume, as when a coarser one was made finer without blending.

    Args:
        copied: for every plane whether it is a copy of the one before.
        planes: how many of them hold an image.
    """
    originals = np.flatnonzero(~copied)
    runs = np.diff(originals)
    return bool(
        copied.sum() >= CONTINUITY.resampled_fraction * planes
        and len(runs) >= 4
        and np.ptp(runs[1:-1] if len(runs) > 4 else runs) <= 1
    )


def _mark_empty(planes: NDArray[np.generic]) -> BoolArray:
    """Whether each plane holds at most ``few_values`` different values."""
    sample = planes[:, :: CONTINUITY.sample_step, :: CONTINUITY.sample_step].reshape(len(planes), -1)
    ordered = np.sort(sample, axis=1)
    values = 1 + np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1)
    empty = values <= CONTINUITY.few_values
    for index in np.flatnonzero(empty):
        empty[index] = len(np.unique(planes[index])) <= CONTINUITY.few_values
    return np.asarray(empty)


def _measure_tissue(planes: NDArray[np.generic]) -> FloatArray:
    """Fraction of each plane that is denser than ``tissue_from_hu``."""
    sample = planes[:, :: CONTINUITY.sample_step, :: CONTINUITY.sample_step]
    return np.asarray(np.greater(sample, CONTINUITY.tissue_from_hu).mean(axis=(1, 2)))


def _mark_copies(planes: NDArray[np.generic], image: BoolArray) -> BoolArray:
    """Whether each plane with an image is equal to the one before, voxel by voxel."""
    sample = planes[:, :: CONTINUITY.sample_step, :: CONTINUITY.sample_step]
    copied = np.zeros(len(planes), dtype=np.bool_)
    copied[1:] = (sample[1:] == sample[:-1]).all(axis=(1, 2)) & image[1:]
    for index in np.flatnonzero(copied):
        copied[index] = np.array_equal(planes[index], planes[index - 1])
    return copied


def _runs(marked: BoolArray) -> Iterator[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    for first, beyond in edges.reshape(-1, 2):
        yield int(first), int(beyond) - 1


def _find_disorder(axis: int, kept: NDArray[np.intp], blocks: Float32Array) -> Iterator[PlaneFault]:
    """Runs of planes that would follow each other better if two neighbors were exchanged.

    The way along four planes w, x, y, z is compared with that along w, y, x, z. Where they are in order it is shorter,
    because planes farther apart differ more; noise makes both alike.
    """
    if len(blocks) < 4:
        return
    near, area = compare_planes(blocks[:-1], blocks[1:])
    far, _ = compare_planes(blocks[:-2], blocks[2:])
    other_way = far[:-1] + near[1:-1] + far[1:]
    enough = max(CONTINUITY.least_blocks, CONTINUITY.least_area * float(area.max()))
    known = np.minimum(np.minimum(area[:-2], area[1:-1]), area[2:]) >= enough
    is_shorter = other_way < CONTINUITY.disorder * (near[:-2] + near[1:-1] + near[2:])
    out = np.zeros(len(blocks), dtype=np.bool_)
    at = np.flatnonzero(known & is_shorter)
    out[at + 1] = out[at + 2] = True
    for first, last in _runs(out):
        yield PlaneFault(FaultKind.DISORDER, axis, int(kept[first - 1]), int(kept[last + 1]))


def _find_jumps(
    ct: CTVolume, axis: int, kept: NDArray[np.intp], blocks: Float32Array, *, regular: bool
) -> Iterator[PlaneFault]:
    """The jumps among the planes ``kept``; where these are not neighbors, only if planes are repeated regularly.

    Args:
        blocks: of ``average_planes``.
    """
    tuned = CONTINUITY
    difference, area = compare_planes(blocks[:-1], blocks[1:])
    if not len(difference):
        return
    usual = rate_differences(difference, area)
    candidates = np.flatnonzero(usual >= tuned.jump_strength)
    if not len(candidates):
        return
    unlike = difference / _measure_far_difference(blocks, ct.spacing_mm[2 - axis])
    quarters = _rate_third_quarter(blocks)
    for at in candidates:
        before, after = int(kept[at]), int(kept[at + 1])
        is_wide = quarters[at] >= tuned.jump_in_quarters
        is_large = unlike[at] >= tuned.jump_unlike or usual[at] >= tuned.jump_strength_alone
        if is_wide and is_large and (after == before + 1 or regular):
            yield PlaneFault(FaultKind.JUMP, axis, before, after, float(usual[at]), float(unlike[at]))


def _rate_third_quarter(blocks: Float32Array) -> FloatArray:
    """The ratio of ``rate_differences`` that three of the four quarters of the body reach, for every pair of planes.

    Lost slices show everywhere in the body, while an organ or a bone begins in one place.
    """
    tissue = (blocks > CONTINUITY.tissue_from_hu).sum(axis=0)
    middle = [
        int(np.average(np.arange(n), weights=tissue.sum(axis=1 - axis) + 1e-6)) for axis, n in enumerate(tissue.shape)
    ]
    rows = (slice(None, middle[0]), slice(middle[0], None))
    columns = (slice(None, middle[1]), slice(middle[1], None))
    rates = []
    for quarter in ((row, column) for row in rows for column in columns):
        part = blocks[:, quarter[0], quarter[1]]
        rate = rate_differences(*compare_planes(part[:-1], part[1:]))
        rates.append(np.where(rate > 0.0, rate, np.inf))  # A quarter without tissue has no say.
    return np.asarray(np.sort(rates, axis=0)[1])


def average_planes(ct: CTVolume, axis: int, kept: NDArray[np.intp]) -> Float32Array:
    """Means over blocks of about 4 mm within the planes ``kept`` across ``axis``, ``(len(kept), n, m)``."""
    planes = np.moveaxis(ct.hu, axis, 0)
    spacing = np.delete(np.array(ct.spacing_mm[::-1]), axis)
    size = np.maximum(np.round(CONTINUITY.block_mm / spacing).astype(int), 1)
    size = np.minimum(size, planes.shape[1:])
    n, m = (np.array(planes.shape[1:]) // size).tolist()
    blocks = np.empty((len(kept), n, m), dtype=np.float32)
    for row, index in enumerate(kept):
        plane = np.clip(planes[index, : n * size[0], : m * size[1]], CONTINUITY.lowest_hu, CONTINUITY.highest_hu)
        blocks[row] = plane.reshape(n, size[0], m, size[1]).mean(axis=(1, 3), dtype=np.float32)
    return blocks


def compare_planes(one: Float32Array, other: Float32Array) -> tuple[FloatArray, FloatArray]:
    """Mean absolute difference in HU of pairs of planes ``(n, ...)`` where both show tissue, and how many blocks do.

    What one of them shows as air is left out: a blanked face is air from one slice to the next.
    """
    tuned = CONTINUITY
    tissue = (one > tuned.tissue_from_hu) & (other > tuned.tissue_from_hu)
    area = tissue.sum(axis=(1, 2)).astype(np.float64)
    low, high = tuned.low_hu, tuned.high_hu
    apart = np.abs(np.clip(one, low, high) - np.clip(other, low, high))
    return np.where(tissue, apart, 0.0).sum(axis=(1, 2)) / np.maximum(area, 1.0), area


def rate_differences(difference: FloatArray, area: FloatArray) -> FloatArray:
    """Each pair's difference over the median of the pairs within ``reach`` to either side; 0 where it is not known."""
    tuned = CONTINUITY
    known = area >= max(tuned.least_blocks, tuned.least_area * area.max(initial=0.0))
    values = np.where(known, difference, np.nan)
    padded = np.pad(values, tuned.reach, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * tuned.reach + 1)
    neighbors = np.delete(windows, tuned.reach, axis=1)
    enough = np.isfinite(neighbors).sum(axis=1) >= tuned.least_neighbors
    usual = np.ones(len(values))
    usual[enough] = np.nanmedian(neighbors[enough], axis=1)
    return np.where(known & enough, difference / np.maximum(usual, 1e-6), 0.0)


def _measure_far_difference(blocks: Float32Array, step_mm: float) -> float:
    """Median difference in HU of two planes that are ``far_mm`` apart, or a third of the volume where it is shorter."""
    away = max(min(round(CONTINUITY.far_mm / step_mm), len(blocks) // 3), 1)
    difference, area = compare_planes(blocks[:-away:3], blocks[away::3])
    known = difference[area >= CONTINUITY.least_blocks]
    return max(float(np.median(known)), 1e-6) if len(known) else np.inf
