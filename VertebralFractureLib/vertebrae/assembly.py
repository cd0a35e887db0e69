"""Make ``Vertebra`` objects of the bodies that were localized, labeled and measured; they are not scored yet.

A vertebra that cannot be judged stays in the list with a reason; nothing is normal by default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.cpr.canal_enclosure import weigh_enclosure
from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.thresholds import ENCLOSURE, LOCALIZATION
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.vertebrae.bone_change import find_density_findings
from VertebralFractureLib.vertebrae.bone_map import map_bone
from VertebralFractureLib.vertebrae.grading import grade_vertebrae, is_graded, measure_heights
from VertebralFractureLib.vertebrae.implants import (
    find_destroyed,
    find_implanted,
    find_metal_beside,
    find_metal_within,
    measure_density,
)
from VertebralFractureLib.vertebrae.labeling import label_bodies
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel
from VertebralFractureLib.vertebrae.localization import (
    LocalizedBody,
    account_for,
    lay_corners,
    localize_bodies_in_their_planes,
)
from VertebralFractureLib.vertebrae.lost_slices import (
    SpineFault,
    drop_contradicting_names,
    holds_blank,
    split_at_jumps,
)
from VertebralFractureLib.vertebrae.oriented_box import oriented_box
from VertebralFractureLib.vertebrae.outline import trace_outline
from VertebralFractureLib.vertebrae.surfacing import surface_bodies
from VertebralFractureLib.vertebrae.trabecular import (
    TrabecularRegion,
    assign_trabecular_hu,
    measure_trabecular_region,
)
from VertebralFractureLib.vertebrae.uncertainty import estimate_height_sd
from VertebralFractureLib.vertebrae.vertebra import Reason, Vertebra

if TYPE_CHECKING:
    import torch

    from VertebralFractureLib.vertebrae.models import VertebraModels

_LESS_TRUE = (Reason.LOW_CONFIDENCE, Reason.METAL_OR_CEMENT, Reason.AS_DENSE_AS_CEMENT, Reason.NO_BONE)
"""Reasons that may be the look of lost slices and not the vertebra's own."""


def localize_vertebrae(
    spine: StraightenedVolume,
    models: VertebraModels | None = None,
    *,
    slice_thickness_mm: float | None = None,
    step_along_mm: float | None = None,
    faults: Sequence[SpineFault] = (),
    in_view: Callable[[FloatArray], BoolArray] | None = None,
    first: Sequence[LocalizedBody] | None = None,
    fine: torch.Tensor | None = None,
    progress: StageProgress | None = None,
) -> list[Vertebra]:
    """Localize, label and measure every vertebra of the spine volume, caudal to cranial; not scored yet.

    Args:
        spine: the ``straightened`` volume at 1 mm.
        models: None takes the weights that ship.
        slice_thickness_mm: the coarsest of ``CTVolume.resolution_mm``, where ``step_along_mm`` is not known.
        step_along_mm: ``CTVolume.resolution_along_patient_mm`` (the larger of distance and thickness), which the
            uncertainty of heights depends on; without both none is reported.
        faults: of the scan's slices along the spine volume (``locate_faults``). A body that they touch is not
            evaluable, one that they hide is left out, and names are counted on either side of a jump by itself.
        in_view: whether RAS mm points ``(n, 3)`` lie in the scan (``CTVolume.contains_points``). A body that is not
            whole in the spine volume is then called truncated only where the scan itself ends; None: always.
        first: as for ``localize_bodies_in_their_planes``.
        fine: of ``level_input.build_fine_volume`` for this volume, where it is built already.

    Raises:
        WeightsDamaged: when the weights that ship are missing or damaged.
        Cancelled: from ``progress``.
    """
    if models is None:
        from VertebralFractureLib.vertebrae.models import VertebraModels

        models = VertebraModels.load()
    report = progress or StageProgress("vertebrae")
    report(0.0)
    bodies = localize_bodies_in_their_planes(spine, models.body, lambda fraction: report(0.4 * fraction), first=first)
    bodies = surface_bodies(spine, bodies, models.surfaces)
    report(0.7)
    bodies = [body for body in bodies if not any(fault.hides(_extent(body)) for fault in faults)]
    runs = split_at_jumps([body.span.middle_mm for body in bodies], faults)
    labels, is_counted_only = _label_runs(spine, [_extent(body) for body in bodies], models, runs, fine)
    report(0.9)
    account = account_for(bodies)
    densities = [measure_density(spine, body) for body in bodies]
    implanted = find_implanted(densities)
    maps = [
        map_bone(spine, body) if body.complete and is_graded(label.level) and not hidden else None
        for body, label, hidden in zip(bodies, labels, implanted, strict=True)
    ]
    findings = find_density_findings(maps)
    is_dense = [finding is not None and finding.is_dense for finding in findings]
    facts = (
        *(account.beside_hole, account.too_tall, account.too_low),
        *(find_metal_beside(densities), find_metal_within(densities), implanted),
        find_destroyed(densities, is_dense),
        _find_off_canal(spine, bodies),
        [in_view is not None and not body.complete and _is_in_view(spine, body, in_view) for body in bodies],
        [counted and label.level is not None for counted, label in zip(is_counted_only, labels, strict=True)],
    )
    odd = [_OddBody(*(bool(fact) for fact in own)) for own in zip(*facts, strict=True)]
    at = [index for index, label in enumerate(labels) if label.level != "S1"]
    kept = [(bodies[index], labels[index]) for index in at]
    cores = [measure_trabecular_region(spine, body) for body, _ in kept]
    found = [
        _vertebra(spine, body, label, core, rank, odd[index])
        for rank, ((body, label), core, index) in enumerate(zip(kept, cores, at, strict=True), start=1)
    ]
    found = [
        _withhold_faulty(one, faults, blank=holds_blank(spine, body), several_runs=len(runs) > 1)
        for one, (body, _) in zip(found, kept, strict=True)
    ]
    step = slice_thickness_mm if step_along_mm is None else step_along_mm
    found = grade_vertebrae(
        [
            _measured(one, _height_sd(body, step, core.noise_hu))
            for one, (body, _), core in zip(found, kept, cores, strict=True)
        ]
    )
    found = [
        replace(one, density_finding=findings[index]) if one.reason is None else one
        for one, index in zip(assign_trabecular_hu(found, cores), at, strict=True)
    ]
    report(1.0)
    return found


def _find_off_canal(spine: StraightenedVolume, bodies: Sequence[LocalizedBody]) -> list[bool]:
    """Whether the curve behind each body runs in no canal, in the median over its height."""
    s, weight = spine.axis_mm("s"), weigh_enclosure(spine)
    rows = [(s >= body.span.s_inferior_mm) & (s <= body.span.s_superior_mm) for body in bodies]
    return [bool(own.any() and np.median(weight[own]) < ENCLOSURE.judged_from) for own in rows]


def _is_in_view(spine: StraightenedVolume, body: LocalizedBody, in_view: Callable[[FloatArray], BoolArray]) -> bool:
    """Whether the scan shows the whole body, with a margin beyond the endplates that were not seen."""
    corners = lay_corners(body.plane, body.span, body.middle_mm, body.shape, LOCALIZATION.unseen_margin_mm)
    return bool(np.all(in_view(spine.frame.straight_to_ras(corners))))


@dataclass(frozen=True)
class _OddBody:
    """What is odd about one body (``accounting``, ``implants``), and whether its level was counted alone."""

    beside_hole: bool
    too_tall: bool
    too_low: bool
    metal_beside: bool
    metal_within: bool
    implanted: bool
    """It holds metal, or what is as dense as cement."""
    destroyed: bool
    off_canal: bool
    curve_ends: bool
    """It is not whole in the spine volume, though the scan shows all of it."""
    level_by_counting: bool

    @property
    def doubts(self) -> tuple[DoubtKind, ...]:
        kinds = {
            DoubtKind.LEVEL_BY_COUNTING: self.level_by_counting,
            DoubtKind.VERTEBRA_MISSING: self.beside_hole,
            DoubtKind.UNUSUAL_HEIGHT: self.too_tall or self.too_low,
            DoubtKind.METAL: self.metal_beside,
        }
        return tuple(kind for kind, is_so in kinds.items() if is_so)


def _extent(body: LocalizedBody) -> tuple[float, float]:
    return body.span.s_inferior_mm, body.span.s_superior_mm


def _label_runs(
    spine: StraightenedVolume,
    extents_mm: list[tuple[float, float]],
    models: VertebraModels,
    runs: Sequence[slice],
    fine: torch.Tensor | None,
) -> tuple[list[LevelLabel], list[bool]]:
    """Label the bodies of each run by themselves, and drop names that contradict each other.

    Returns:
        The label of each body, and whether it was counted without a landmark.
    """
    if len(runs) < 2:
        whole = label_bodies(spine, extents_mm, models.levels, fine=fine)
        return whole.labels, [whole.is_counted_only] * len(extents_mm)
    s = spine.axis_mm("s")
    # What lies between two runs belongs to neither: a landmark of one is none of the other.
    ends = [float(s[0]), *(0.5 * (extents_mm[run.start - 1][1] + extents_mm[run.start][0]) for run in runs[1:])]
    limits = zip(ends, [*ends[1:], float(s[-1])], strict=True)
    columns = [
        label_bodies(spine, extents_mm[run], models.levels, seen_mm) for run, seen_mm in zip(runs, limits, strict=True)
    ]
    counted = [column.is_counted_only for column in columns for _ in column.labels]
    return drop_contradicting_names([column.labels for column in columns]), counted


def _withhold_faulty(vertebra: Vertebra, faults: Sequence[SpineFault], *, blank: bool, several_runs: bool) -> Vertebra:
    """The vertebra, not evaluable where a fault touches or blanks it, its name in doubt where counted in runs."""
    reason, doubts = vertebra.reason, vertebra.doubts
    is_lost = blank or any(fault.touches(vertebra.extent_mm) for fault in faults)
    if is_lost and reason in (None, *_LESS_TRUE):
        reason = Reason.SLICES_LOST
    if several_runs:
        doubts = (*doubts, DoubtKind.LEVEL_ACROSS_JUMP)
    return replace(vertebra, reason=reason, doubts=doubts)


def _vertebra(
    spine: StraightenedVolume, body: LocalizedBody, label: LevelLabel, core: TrabecularRegion, rank: int, odd: _OddBody
) -> Vertebra:
    span, shape = body.span, body.shape
    middle = body.middle_mm if shape is None else 0.5 * (shape.a_posterior + shape.a_anterior)
    center = body.plane.straight(np.zeros(()), np.array(middle), np.array(span.middle_mm))
    landmarks, points = None, body.landmarks_straight()
    if points is not None and body.complete:
        landmarks = tuple(_point(point) for point in spine.frame.straight_to_ras(points))
    reason = None
    if not body.complete:
        reason = Reason.CURVE_ENDS if odd.curve_ends else Reason.TRUNCATED
    elif odd.metal_within:  # In the neck, too: it stays so where a reader names the vertebra otherwise.
        reason = Reason.METAL_OR_CEMENT
    elif not is_graded(label.level):
        reason = Reason.LEVEL_NOT_SCORED
    elif odd.too_tall:
        reason = Reason.NOT_SEPARATED
    elif odd.off_canal:
        reason = Reason.OFF_CANAL
    elif core.holds_metal or odd.implanted:
        reason = Reason.AS_DENSE_AS_CEMENT
    elif odd.destroyed:
        reason = Reason.NO_BONE
    elif span.confidence < LOCALIZATION.lowest_confidence:
        reason = Reason.LOW_CONFIDENCE
    return Vertebra(
        label=label.level or f"V{rank}",
        level=label.level,
        level_probability=label.probability,
        reason=reason,
        doubts=(*odd.doubts, *_doubt_surface(body)),
        center_ras=_point(spine.frame.straight_to_ras(center[None])[0]),
        extent_mm=(span.s_inferior_mm, span.s_superior_mm),
        complete=body.complete,
        detection_confidence=span.confidence,
        landmarks_ras=landmarks,
        outline_ras=trace_outline(spine.frame, body) if body.complete else None,
        box=oriented_box(spine, body) if body.complete else None,
    )


def _doubt_surface(body: LocalizedBody) -> tuple[DoubtKind, ...]:
    if body.measures is None:
        return ()
    doubtful = {
        DoubtKind.ENDPLATE_UNSURE: body.measures.is_unsure,
        DoubtKind.WALL_UNSURE: body.measures.has_unsure_wall,
    }
    return tuple(kind for kind, holds in doubtful.items() if holds)


def _height_sd(body: LocalizedBody, step_mm: float | None, noise_hu: float) -> float | None:
    """Of slices and noise, and more where an endplate of this body is hard to see."""
    if step_mm is None:
        return None
    deviation = estimate_height_sd(step_mm, noise_hu)
    if body.measures is None or not body.measures.is_unsure:
        return deviation
    return max(deviation, body.measures.height_sd_mm)


def _point(values: FloatArray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _measured(vertebra: Vertebra, height_sd_mm: float | None) -> Vertebra:
    if vertebra.landmarks_ras is None or vertebra.reason == Reason.SLICES_LOST:
        return vertebra
    return replace(vertebra, heights_mm=measure_heights(np.array(vertebra.landmarks_ras)), height_sd_mm=height_sd_mm)
