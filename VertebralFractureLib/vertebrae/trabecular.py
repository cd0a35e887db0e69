"""Measure the trabecular volume of interest of a body: its HU, its noise, and what makes both meaningless.

The region follows the vertebra's own plane and stays clear of cortex and endplates: the middle half of depth and
height, 17 mm wide. Fractured bone is compacted, and sclerosis, cement and metal are no trabecular bone: there is no
value then, but the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.thresholds import GRADING, SCORING, TRABECULAR
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.grading import is_graded
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.vertebrae.vertebra import Reason, Vertebra
from VertebralFractureLib.volume.sampling import sample_nearest


@dataclass(frozen=True)
class TrabecularRegion:
    """What the inside of a body shows; None and 0 where nothing of it lies in the field of view.

    Attributes:
        mean_hu: of trabecular bone, if it is that.
        noise_hu: robust standard deviation of HU 3 mm apart from left to right; texture of the bone is part of it.
        metal_fraction: of voxels that are metal or cement.
        dense_fraction: of voxels that are far denser than the median.
    """

    mean_hu: float | None
    noise_hu: float
    metal_fraction: float
    dense_fraction: float

    @property
    def holds_metal(self) -> bool:
        return self.metal_fraction > TRABECULAR.metal_fraction


def measure_trabecular_region(spine: StraightenedVolume, body: LocalizedBody) -> TrabecularRegion:
    """Look into a body; one that was not traced shows nothing."""
    tuned = TRABECULAR
    span, shape = body.span, body.shape
    if shape is None:
        return TrabecularRegion(None, 0.0, 0.0, 0.0)
    reach_s, reach_a = 0.25 * (span.s_superior_mm - span.s_inferior_mm), 0.25 * (shape.a_anterior - shape.a_posterior)
    r = np.arange(-tuned.half_width_mm, tuned.half_width_mm + 0.5)
    a = 0.5 * (shape.a_anterior + shape.a_posterior) + np.arange(-np.floor(reach_a), np.floor(reach_a) + 0.5)
    s = span.middle_mm + np.arange(-np.floor(reach_s), np.floor(reach_s) + 0.5)
    points = body.plane.straight(r[None, None, :], a[None, :, None], s[:, None, None])
    index = spine.straight_to_ijk_points(points)
    inside, within = sample_nearest(spine.inside, index)
    known = np.asarray(within & inside)
    hu = np.where(known, sample_nearest(spine.hu, index)[0].astype(np.float64), np.nan)
    values = hu[known]
    if len(values) == 0:
        return TrabecularRegion(None, 0.0, 0.0, 0.0)
    noise = _noise(hu)
    dense = np.median(values) + max(tuned.dense_above_median_hu, tuned.dense_above_noise * noise)
    return TrabecularRegion(
        float(values.mean()), noise, float((values > tuned.metal_hu).mean()), float((values > dense).mean())
    )


def _noise(hu: FloatArray) -> float:
    difference = hu[:, :, TRABECULAR.noise_step_mm :] - hu[:, :, : -TRABECULAR.noise_step_mm]
    difference = difference[np.isfinite(difference)]
    if len(difference) == 0:
        return 0.0
    deviation = np.median(np.abs(difference - np.median(difference)))
    return float(1.4826 * deviation / np.sqrt(2.0))


def assign_trabecular_hu(vertebrae: Sequence[Vertebra], cores: Sequence[TrabecularRegion]) -> list[Vertebra]:
    """The vertebrae, measured already, with the HU of those whose inside is trabecular bone, and the reason elsewhere.

    Cervical vertebrae are denser by nature and are not held against their neighbors.
    """
    tuned = TRABECULAR
    sound = [_why_not(vertebra, core) is None for vertebra, core in zip(vertebrae, cores, strict=True)]
    result = []
    for index, (vertebra, core) in enumerate(zip(vertebrae, cores, strict=True)):
        reason = _why_not(vertebra, core)
        if reason is None and core.mean_hu is not None and is_graded(vertebra.level):
            near = range(max(index - tuned.neighbors, 0), min(index + tuned.neighbors + 1, len(cores)))
            others = [cores[n].mean_hu or 0.0 for n in near if n != index and sound[n]]
            usual = max(float(np.median(others)), tuned.least_usual_hu) if len(others) >= tuned.neighbors else np.inf
            if core.mean_hu > tuned.denser_than_neighbors * usual:
                reason = Reason.DEGENERATED
        shown = core.mean_hu if reason is None else None
        result.append(replace(vertebra, trabecular_hu=shown, trabecular_reason=reason))
    return result


def withhold_hu_of_fractured(vertebra: Vertebra) -> Vertebra:
    """The vertebra, graded and scored, without trabecular HU where it is fractured or suspected of it."""
    probability = vertebra.fracture_probability
    if not vertebra.grade and (probability is None or probability < SCORING.fractured_from):
        return vertebra
    return replace(vertebra, trabecular_hu=None, trabecular_reason=vertebra.trabecular_reason or Reason.FRACTURED)


def _is_lower_for_certain(vertebra: Vertebra) -> bool:
    """Whether the heights alone say that it is fractured, by more than slices and noise can do."""
    loss = vertebra.height_loss
    return loss is not None and loss - (vertebra.height_loss_sd or 0.0) >= GRADING.genant_cut_offs[0]


def _why_not(vertebra: Vertebra, core: TrabecularRegion) -> Reason | None:
    if not vertebra.complete:
        return Reason.TRUNCATED
    if vertebra.reason == Reason.SLICES_LOST:
        return vertebra.reason
    if core.mean_hu is None:
        return Reason.NOT_TRACED
    if core.holds_metal:
        is_metal = vertebra.reason == Reason.METAL_OR_CEMENT
        return Reason.METAL_OR_CEMENT if is_metal else Reason.AS_DENSE_AS_CEMENT
    if vertebra.reason is not None and is_graded(vertebra.level):
        return vertebra.reason
    if _is_lower_for_certain(vertebra):
        return Reason.FRACTURED
    return Reason.DEGENERATED if core.dense_fraction > TRABECULAR.dense_fraction else None
