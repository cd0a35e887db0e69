"""Step 2: where the spinal canal runs: a CNN on axial slices, then one optimal path through all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from VertebralFractureLib.cord.centerline import Centerline

if TYPE_CHECKING:
    from VertebralFractureLib.progress import StageProgress
    from VertebralFractureLib.volume import CTVolume

__all__ = ["Centerline", "cord_weights_sha256", "detect_centerline"]


def detect_centerline(
    ct: CTVolume, *, weights_folder: Path | None = None, progress: StageProgress | None = None
) -> Centerline:
    """See ``cord.detection.detect_centerline``; PyTorch is loaded with the first call."""
    from VertebralFractureLib.cord import detection

    return detection.detect_centerline(ct, weights_folder=weights_folder, progress=progress)


def cord_weights_sha256(weights_folder: Path | None = None) -> str:
    """SHA-256 of the canal network's weights file; see ``cord.detection.cord_weights_sha256``."""
    from VertebralFractureLib.cord import detection

    return detection.cord_weights_sha256(weights_folder)
