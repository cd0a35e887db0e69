"""``detect_canal``: from a CT to the canal's centerline and the boxes along it, or a clear "no spine here".

The network sees every axial slice that matters, one path is laid through all of its answers, and only a path that is
long enough and on the whole believed by the network is called a spine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from VertebralFractureLib.canal.axial_stack import compute_bounds_ras
from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.canal.control_point_path import CanalEvidence, canal_evidence
from VertebralFractureLib.canal.cortical_refinement import refine_to_cortex
from VertebralFractureLib.canal.curve import SliceBoxes, calibrate_canal_confidence, fit_centerline, fit_slice_boxes
from VertebralFractureLib.canal.network import CanalModel
from VertebralFractureLib.canal.path import find_canal_path
from VertebralFractureLib.canal.plausibility import check_anatomy, check_bone_around, check_content
from VertebralFractureLib.canal.vertebral_spacing import check_vertebral_spacing
from VertebralFractureLib.errors import NoSpineFound
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.thresholds import CANAL_PLAUSIBILITY
from VertebralFractureLib.volume import CTVolume

_NO_CANAL = "No spinal canal was found; check that this is a CT that shows the spine."


@dataclass(frozen=True)
class CanalDetection:
    """The canal's centerline (RAS mm, caudal to cranial, a point about every 5 mm) and the boxes along it."""

    centerline: Centerline
    boxes: SliceBoxes


def refuse_short_scan(ct: CTVolume) -> None:
    """Refuse a scan that is too short for a spine, before a network looks at it.

    Raises:
        NoSpineFound: when it covers less than ``shortest_spine_mm`` from bottom to top.
    """
    low, high = compute_bounds_ras(ct.imaged.shape_kji, ct.imaged.ijk_to_ras)
    height, least = float(high[2] - low[2]), CANAL_PLAUSIBILITY.shortest_spine_mm
    if height < least:
        raise NoSpineFound(
            f"The scan covers only {height:.0f} mm from bottom to top; at least {least:.0f} mm are needed."
        )


def detect_canal(
    ct: CTVolume,
    model: CanalModel,
    *,
    evidence: CanalEvidence | None = None,
    progress: StageProgress | None = None,
) -> CanalDetection:
    """Find the spinal canal.

    Args:
        evidence: of the same CT and model, where it is known already; the network does not run then.

    Raises:
        NoSpineFound: when the scan is too short, or no canal of ``shortest_spine_mm`` is found with confidence.
        CanalFilled: when contrast medium fills the canal.
        ImplausibleGeometry: when the vertebrae along the canal show that the spacing in the file cannot be true,
            or that the patient lies on the side and the file does not say so.
        Cancelled: from ``progress``.
    """
    tuned = CANAL_PLAUSIBILITY
    refuse_short_scan(ct)
    if evidence is None:
        evidence = canal_evidence(ct, model, progress=progress)
    stack, candidates = evidence.stack, evidence.candidates
    path = find_canal_path(candidates.position_mm, candidates.probability, stack.spacing_mm[2])
    if path is None:
        raise NoSpineFound(_NO_CANAL)
    candidates = refine_to_cortex(ct, candidates, path)
    centerline = fit_centerline(stack, candidates, path)
    if centerline is None:
        raise NoSpineFound(_NO_CANAL)
    boxes = fit_slice_boxes(candidates, path, centerline)
    check_content(ct, centerline, boxes)
    if centerline.length_mm < tuned.shortest_spine_mm:
        raise NoSpineFound(
            f"Only {centerline.length_mm:.0f} mm of a spinal canal were found; "
            f"at least {tuned.shortest_spine_mm:.0f} mm are needed."
        )
    mean_probability = float(centerline.confidence.mean())
    if mean_probability < tuned.lowest_mean_probability:
        raise NoSpineFound("No spinal canal was found with confidence; check that this is a CT that shows the spine.")
    check_bone_around(stack, boxes, mean_probability)
    check_anatomy(ct, boxes)
    check_vertebral_spacing(ct, centerline, boxes)
    confidence = calibrate_canal_confidence(centerline.confidence, model.config)
    return CanalDetection(replace(centerline, confidence=confidence), boxes)
