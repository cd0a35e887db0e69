"""Check the Hounsfield scale on the patient's own soft tissue, and shift what lies far off it.

Muscle, blood and organs around the spine have the commonest density there, and it hardly differs between patients,
tube voltages and phases of contrast medium. A rescale intercept that is wrong, or a calibration that drifted, moves it;
what the networks learned on would then no longer fit. A true CT is never changed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.thresholds import HU_SCALE


def measure_soft_tissue_hu(spine: StraightenedVolume) -> float | None:
    """The commonest density of soft tissue around the spine, after averaging 3 mm; None where too little is seen.

    Densities from ``lowest_hu`` to ``highest_hu`` count, so that a shift by as much as scanners do is followed. In
    a patient with more fat than muscle the commonest is fat: it has a second peak above, as far away as muscle is.
    """
    tuned = HU_SCALE
    block = 3
    size = [count // block * block for count in spine.hu.shape]
    shape = (size[0] // block, block, size[1] // block, block, size[2] // block, block)
    part = tuple(slice(count) for count in size)
    inside = np.asarray(spine.inside[part]).reshape(shape).all(axis=(1, 3, 5))
    mean = np.asarray(spine.hu[part], dtype=np.float32).reshape(shape).mean(axis=(1, 3, 5))[inside]
    edges = np.arange(tuned.lowest_hu, tuned.highest_hu + 0.5 * tuned.bin_hu, tuned.bin_hu)
    count = np.histogram(mean, edges)[0].astype(np.float64)
    if count.sum() < tuned.least_blocks:
        return None
    smooth = np.convolve(count, [1.0, 2.0, 3.0, 2.0, 1.0], mode="same")
    center = edges[:-1] + 0.5 * tuned.bin_hu
    first = int(smooth.argmax())
    above = np.flatnonzero((center >= center[first] + tuned.nearest_hu) & (center <= center[first] + tuned.farthest_hu))
    if len(above):
        second = int(above[smooth[above].argmax()])
        is_peak = 0 < second < len(smooth) - 1 and smooth[second] >= max(smooth[second - 1], smooth[second + 1])
        below = (center <= center[first] - tuned.nearest_hu) & (center >= center[first] - tuned.farthest_hu)
        # Below muscle lies fat; below fat nothing does.
        is_fat = smooth[below].max(initial=0.0) < tuned.below_fat * smooth[second]
        if is_peak and is_fat and smooth[second] >= tuned.second_peak * smooth[first]:
            return float(center[second])
    return float(center[first])


def shift_to_hu_scale(spine: StraightenedVolume) -> tuple[StraightenedVolume, Doubt | None]:
    """The volume with soft tissue where a CT has it, and the doubt; the same volume and None where it is."""
    tuned = HU_SCALE
    found = measure_soft_tissue_hu(spine)
    if found is None or tuned.soft_from_hu <= found <= tuned.soft_to_hu:
        return spine, None
    hu = np.where(spine.inside, spine.hu + np.float32(tuned.usual_soft_hu - found), spine.hu).astype(np.float32)
    return replace(spine, hu=hu), Doubt(DoubtKind.HU_SCALE, {"hu_of_soft_tissue": found})
