"""Step 2: where the spinal canal runs: a CNN on axial slices, then one optimal path through all of them.

The paper calls this step spinal cord detection; on CT the cord can rarely be distinguished from its fluid, and what is
found is the canal. PyTorch is loaded with the first call of a function that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.types import FloatArray

if TYPE_CHECKING:
    from VertebralFractureLib.canal.axial_stack import AxialStacks
    from VertebralFractureLib.canal.control_point_path import CanalEvidence
    from VertebralFractureLib.canal.detection import CanalDetection
    from VertebralFractureLib.canal.editing import RepairedCenterline
    from VertebralFractureLib.canal.network import CanalModel
    from VertebralFractureLib.progress import StageProgress
    from VertebralFractureLib.volume import CTVolume

__all__ = [
    "CANAL",
    "Centerline",
    "canal_evidence",
    "detect_canal",
    "detect_centerline",
    "draw_centerline",
    "load_canal_model",
    "refuse_short_scan",
    "repair_centerline",
]


CANAL = "cord"
"""What the canal network is called in the weights' manifest, after the paper's name for this step."""


def load_canal_model(weights_folder: Path | None = None) -> CanalModel:
    """Load the canal network alone, on the CPU; ``models.Models`` loads it together with the others. None: what ships.

    Raises:
        WeightsDamaged: when the weights are missing or not what the manifest promises.
    """
    from VertebralFractureLib.canal.network import CanalModel
    from VertebralFractureLib.weights import load_weights

    return CanalModel.from_weights(load_weights(CANAL, weights_folder))


def detect_canal(
    ct: CTVolume,
    model: CanalModel | None = None,
    *,
    evidence: CanalEvidence | None = None,
    progress: StageProgress | None = None,
) -> CanalDetection:
    """Find the spinal canal with ``model``, or with the weights that ship; see ``canal.detection.detect_canal``."""
    from VertebralFractureLib.canal import detection

    return detection.detect_canal(ct, model or load_canal_model(), evidence=evidence, progress=progress)


def refuse_short_scan(ct: CTVolume) -> None:
    """Refuse a scan that is too short for a spine; see ``canal.detection.refuse_short_scan``."""
    from VertebralFractureLib.canal import detection

    detection.refuse_short_scan(ct)


def detect_centerline(
    ct: CTVolume, model: CanalModel | None = None, *, progress: StageProgress | None = None
) -> Centerline:
    """The centerline alone; raises as ``detect_canal``."""
    return detect_canal(ct, model, progress=progress).centerline


def canal_evidence(
    ct: CTVolume,
    model: CanalModel | None = None,
    *,
    stacks: AxialStacks | None = None,
    progress: StageProgress | None = None,
) -> CanalEvidence:
    """What the network sees of the canal; see ``canal.control_point_path.canal_evidence``."""
    from VertebralFractureLib.canal import control_point_path

    return control_point_path.canal_evidence(ct, model or load_canal_model(), stacks=stacks, progress=progress)


def draw_centerline(evidence: CanalEvidence, points_ras: FloatArray) -> RepairedCenterline:
    """A centerline from a handful of points; see ``canal.editing.draw_centerline``."""
    from VertebralFractureLib.canal import editing

    return editing.draw_centerline(evidence, points_ras)


def repair_centerline(
    evidence: CanalEvidence, points_ras: FloatArray, dragged_ras: FloatArray, anchors_ras: FloatArray | None = None
) -> RepairedCenterline:
    """The curve after one of its points was dragged; see ``canal.editing.repair_centerline``."""
    from VertebralFractureLib.canal import editing

    return editing.repair_centerline(evidence, points_ras, dragged_ras, anchors_ras)
