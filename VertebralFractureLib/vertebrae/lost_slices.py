"""Where the faults of the scan's slices lie along the straightened spine, and which bodies they touch.

A body with lost or moved slices in it has no height that could be measured, and one that lies mostly in lost slices was
not seen at all. Names are counted from body to body; across slices that were cut out nothing can be counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.cpr.frame import ReformatFrame
from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.thresholds import IMPLANTS, LOST_SLICES
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.continuity import FaultKind, PlaneFault


@dataclass(frozen=True)
class SpineFault:
    """A fault of the slices where it meets the vertebral bodies.

    Attributes:
        kind: what is wrong with the slices.
        from_mm, to_mm: arc lengths between which bodies cannot be measured; infinite where the fault runs along them.
        loses_count: whether an unknown number of vertebrae may be lost there.
    """

    kind: FaultKind
    from_mm: float
    to_mm: float
    loses_count: bool

    def touches(self, extent_mm: tuple[float, float]) -> bool:
        """Whether a body between these arc lengths has a part in the fault."""
        return extent_mm[0] < self.to_mm and extent_mm[1] > self.from_mm

    def hides(self, extent_mm: tuple[float, float]) -> bool:
        """Whether most of such a body lies in slices that hold nothing or a copy, so that it was not seen."""
        low, high = extent_mm
        if self.kind in (FaultKind.JUMP, FaultKind.DISORDER) or not np.isfinite(self.from_mm):
            return False
        return min(high, self.to_mm) - max(low, self.from_mm) > LOST_SLICES.most_hidden * (high - low)

    @property
    def middle_mm(self) -> float:
        return 0.5 * (self.from_mm + self.to_mm)


def locate_faults(ct: CTVolume, frame: ReformatFrame) -> tuple[SpineFault, ...]:
    """The faults of ``ct`` that meet the column of bodies along ``frame``, caudal to cranial."""
    found = (_locate(ct, frame, fault) for fault in ct.continuity.faults)
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.from_mm))


def _locate(ct: CTVolume, frame: ReformatFrame, fault: PlaneFault) -> SpineFault | None:
    tuned = LOST_SLICES
    low, high = frame.range_mm
    s = np.arange(low - tuned.beyond_mm, high + tuned.beyond_mm, 1.0)
    lines = [(r, a) for r in (-1.0, 0.0, 1.0) for a in (tuned.from_anterior_mm, tuned.to_anterior_mm)]
    points = np.array([[tuned.half_width_mm * r, a, at] for r, a in lines for at in s])
    index = ct.ras_to_ijk_points(frame.straight_to_ras(points))[:, 2 - fault.axis].reshape(len(lines), len(s))
    # From the outer face of the plane before to that of the plane after, or the samples may step over a jump.
    within = (index > fault.before - 0.5) & (index < fault.after + 0.5)
    if not within.any():
        return None
    rise_mm = np.abs(index[:, -1] - index[:, 0]).mean() * ct.spacing_mm[2 - fault.axis]
    if rise_mm < tuned.least_slope * (s[-1] - s[0]):
        return SpineFault(fault.kind, -np.inf, np.inf, loses_count=False)
    jump = fault.kind == FaultKind.JUMP
    margin = tuned.jump_margin_mm if jump else tuned.margin_mm
    at = s[within.any(axis=0)]
    return SpineFault(fault.kind, float(at.min()) - margin, float(at.max()) + margin, loses_count=jump)


def holds_blank(spine: StraightenedVolume, body: LocalizedBody) -> bool:
    """Whether a part of the body, or of what its endplates lie in, holds one value, as where parts of slices were lost.

    Noise gives neighboring voxels of a scan different values, even where they were smoothed. What is as dense as metal
    is left out, because scanners end their scale there.
    """
    tuned, shape = LOST_SLICES, body.shape
    if shape is None:
        return False
    s, a, r = spine.axis_mm("s"), spine.axis_mm("a"), spine.axis_mm("r")
    # Where a part was lost the traced body ends: what is blank lies beyond its endplate then.
    margin = tuned.margin_mm + tuned.blank_voxels
    low, high = body.span.s_inferior_mm - margin, body.span.s_superior_mm + margin
    across = (a >= shape.a_posterior) & (a <= shape.a_anterior)
    box = np.ix_((s >= low) & (s <= high), across, np.abs(r) <= tuned.half_width_mm)
    hu = np.where(spine.inside[box], spine.hu[box], np.nan).astype(np.float32)
    if min(hu.shape) < tuned.blank_voxels:
        return False
    cubes = np.lib.stride_tricks.sliding_window_view(hu, (tuned.blank_voxels,) * 3)
    most = cubes.max(axis=(3, 4, 5))
    blank = (most - cubes.min(axis=(3, 4, 5)) < tuned.same_hu) & (most < IMPLANTS.cement_hu)
    return int(np.count_nonzero(blank)) >= tuned.least_blank_cubes


def split_at_jumps(middles_mm: Sequence[float], faults: Sequence[SpineFault]) -> list[slice]:
    """Runs of bodies, caudal to cranial, between which an unknown number of vertebrae may be lost."""
    at = sorted(fault.middle_mm for fault in faults if fault.loses_count)
    borders = [0, *np.searchsorted(np.asarray(middles_mm), at).tolist(), len(middles_mm)]
    return [slice(low, high) for low, high in itertools.pairwise(borders) if high > low]


def drop_contradicting_names(runs: Sequence[list[LevelLabel]]) -> list[LevelLabel]:
    """The labels of all runs, caudal to cranial, without those of a run that do not follow on a run with more names.

    Runs are labeled each by itself, so that the names of one may be those of another, or out of order.
    """
    kept = [list(run) for run in runs]
    believed: list[int] = []
    for one in sorted(range(len(runs)), key=lambda at: -len(_places(runs[at]))):
        if all(_follows(runs[max(one, other)], runs[min(one, other)]) for other in believed):
            believed.append(one)
        else:
            kept[one] = [LevelLabel(None, 0.0) for _ in runs[one]]
    return [label for run in kept for label in run]


def _places(run: Sequence[LevelLabel]) -> list[int]:
    """Places of a run's names from C1 down."""
    return [CRANIAL_TO_CAUDAL.index(label.level) for label in run if label.level]


def _follows(above: Sequence[LevelLabel], below: Sequence[LevelLabel]) -> bool:
    """Whether every name of the upper run is cranial of every name of the lower one."""
    upper, lower = _places(above), _places(below)
    return not upper or not lower or max(upper) < min(lower)
