"""The networks of this step, loaded together; PyTorch is loaded with them and not before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from VertebralFractureLib.weights import WeightsFolder

if TYPE_CHECKING:
    from VertebralFractureLib.vertebrae.body_network import BodyModel
    from VertebralFractureLib.vertebrae.level_network import LevelModel
    from VertebralFractureLib.vertebrae.surface_network import SurfaceModel

BODY_WEIGHTS, LEVEL_WEIGHTS, SURFACE_WEIGHTS = "vertebrae", "levels", "surfaces"
"""What the networks are called in the weights' manifest."""


@dataclass(frozen=True)
class VertebraModels:
    """What localizes vertebral bodies, what labels them, and what finds their surfaces."""

    body: BodyModel
    levels: LevelModel
    surfaces: SurfaceModel

    @staticmethod
    def load(weights_folder: Path | None = None) -> VertebraModels:
        """Load them alone, on the CPU; ``models.Models`` loads them together with the others. None: what ships.

        Raises:
            WeightsDamaged: when the weights are missing or damaged.
        """
        from VertebralFractureLib.vertebrae.body_network import BodyModel
        from VertebralFractureLib.vertebrae.level_network import LevelModel
        from VertebralFractureLib.vertebrae.surface_network import SurfaceModel

        folder = WeightsFolder(weights_folder)
        return VertebraModels(
            BodyModel.from_weights(folder.load(BODY_WEIGHTS)),
            LevelModel.from_weights(folder.load(LEVEL_WEIGHTS)),
            SurfaceModel.from_weights(folder.load(SURFACE_WEIGHTS)),
        )
