"""Step 4: every vertebra: localized, labeled, measured and graded."""

from __future__ import annotations

from VertebralFractureLib.vertebrae.assembly import localize_vertebrae
from VertebralFractureLib.vertebrae.grading import GRADING_RULES
from VertebralFractureLib.vertebrae.vertebra import Vertebra

__all__ = ["GRADING_RULES", "Vertebra", "localize_vertebrae"]
