"""Step 2: where the spinal canal runs: a CNN on axial slices, then one optimal path through all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.types import FloatArray

if TYPE_CHECKING:
    from VertebralFractureLib.canal.control_point_path import CanalEvidence
    from VertebralFractureLib.canal.detection import CanalDetection
    from VertebralFractureLib.canal.editing import RepairedCenterline
    from VertebralFractureLib.progress import StageProgress
    from VertebralFractureLib.volume import CTVolume

__all__ = [
    "Centerline",
    "canal_evidence",
    "canal_weights_sha256",
    "detect_canal",
    "detect_centerline",
    "draw_centerline",
    "repair_centerline",
]


def detect_canal(
    ct: CTVolume,
    *,
    evidence: CanalEvidence | None = None,
    weights_folder: Path | None = None,
    device: str = "cpu",
    progress: StageProgress | None = None,
) -> CanalDetection:
    """See ``canal.detection.detect_canal``; PyTorch is loaded with the first call."""
    from VertebralFractureLib.canal import detection

    return detection.detect_canal(
        ct, evidence=evidence, weights_folder=weights_folder, device=device, progress=progress
    )


def detect_centerline(
    ct: CTVolume, *, weights_folder: Path | None = None, device: str = "cpu", progress: StageProgress | None = None
) -> Centerline:
    """The centerline alone; raises as ``detect_canal``."""
    return detect_canal(ct, weights_folder=weights_folder, device=device, progress=progress).centerline


def canal_weights_sha256(weights_folder: Path | None = None) -> str:
    """SHA-256 of the canal network's weights file; see ``canal.detection.canal_weights_sha256``."""
    from VertebralFractureLib.canal import detection

    return detection.canal_weights_sha256(weights_folder)


def canal_evidence(
    ct: CTVolume, *, weights_folder: Path | None = None, device: str = "cpu", progress: StageProgress | None = None
) -> CanalEvidence:
    """What the network sees of the canal, for all that follows; see ``canal.control_point_path.canal_evidence``."""
    from VertebralFractureLib.canal import control_point_path

    return control_point_path.canal_evidence(ct, weights_folder=weights_folder, device=device, progress=progress)


def draw_centerline(evidence: CanalEvidence, points_ras: FloatArray) -> RepairedCenterline:
    """A centerline from a handful of points; see ``canal.repair.draw_centerline``."""
    from VertebralFractureLib.canal import editing

    return editing.draw_centerline(evidence, points_ras)


def repair_centerline(
    evidence: CanalEvidence, points_ras: FloatArray, dragged_ras: FloatArray, anchors_ras: FloatArray | None = None
) -> RepairedCenterline:
    """The curve after one of its points was dragged; see ``canal.repair.repair_centerline``."""
    from VertebralFractureLib.canal import editing

    return editing.repair_centerline(evidence, points_ras, dragged_ras, anchors_ras)
