"""The two networks of this step, loaded together; PyTorch is loaded with them and not before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from VertebralFractureLib.weights import WeightsFolder

if TYPE_CHECKING:
    from VertebralFractureLib.vertebrae.body_network import BodyModel
    from VertebralFractureLib.vertebrae.level_network import LevelModel

BODY_WEIGHTS, LEVEL_WEIGHTS = "vertebrae", "levels"
"""What the two networks are called in the weights' manifest."""


@dataclass(frozen=True)
class VertebraModels:
    """What localizes vertebral bodies and what labels them."""

    body: BodyModel
    levels: LevelModel

    @staticmethod
    def load(weights_folder: Path | None = None) -> VertebraModels:
        """Load the two alone, on the CPU; ``models.Models`` loads them together with the others. None: what ships.

        Raises:
            WeightsDamaged: when the weights are missing or damaged.
        """
        from VertebralFractureLib.vertebrae.body_network import BodyModel
        from VertebralFractureLib.vertebrae.level_network import LevelModel

        folder = WeightsFolder(weights_folder)
        return VertebraModels(
            BodyModel.from_weights(folder.load(BODY_WEIGHTS)), LevelModel.from_weights(folder.load(LEVEL_WEIGHTS))
        )
