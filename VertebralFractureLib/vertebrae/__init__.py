"""Step 5: every vertebra: found, named, measured, and given the score of its positions."""

from __future__ import annotations

from pathlib import Path

from VertebralFractureLib.vertebrae.assembly import localize_vertebrae
from VertebralFractureLib.vertebrae.grading import (
    GRADING_RULES,
    Grading,
    grade_column,
    grade_heights,
    grade_vertebrae,
    spinal_deformity_index,
)
from VertebralFractureLib.vertebrae.relabeling import relabel, relabel_levels
from VertebralFractureLib.vertebrae.scoring import score_vertebrae
from VertebralFractureLib.vertebrae.vertebra import (
    Assessment,
    Heights,
    OrientedBox,
    ReaderAssessment,
    Reason,
    Shape,
    Source,
    Status,
    Vertebra,
)
from VertebralFractureLib.weights import load_weights

__all__ = [
    "GRADING_RULES",
    "Assessment",
    "Grading",
    "Heights",
    "OrientedBox",
    "ReaderAssessment",
    "Reason",
    "Shape",
    "Source",
    "Status",
    "Vertebra",
    "grade_column",
    "grade_heights",
    "grade_vertebrae",
    "localize_vertebrae",
    "relabel",
    "relabel_levels",
    "score_vertebrae",
    "spinal_deformity_index",
    "vertebrae_weights_sha256",
]


def vertebrae_weights_sha256(weights_folder: Path | None = None) -> dict[str, str]:
    """SHA-256 by name of the two models of this step.

    Raises:
        WeightsDamaged: when one is missing or damaged.
    """
    return {name: load_weights(name, weights_folder).sha256 for name in ("vertebrae", "levels")}
