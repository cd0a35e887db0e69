"""Step 4: every vertebra: localized, labeled, measured and graded."""

from __future__ import annotations

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
    "spinal_deformity_index",
]
