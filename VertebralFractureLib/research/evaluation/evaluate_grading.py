"""The grading rules on public data with known answers: expert readings of heights, and a label map with known grades.

Neither needs weights. The figures are in docs/results/vertebrae.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from VertebralFractureLib.research.datasets.height_measurements import agreement, read_heights
from VertebralFractureLib.research.datasets.mask_heights import known_grades, mask_heights
from VertebralFractureLib.vertebrae.grading import GRADING_RULES, grade_column


def mask_table(labels: Path, centroids: Path, grades: Path) -> list[dict[str, Any]]:
    """One row a level, caudal to cranial: heights, the known grade, and the grade and severity by every rule."""
    heights = mask_heights(labels, centroids)
    truth = known_grades(grades)
    levels = list(heights)
    rows: list[dict[str, Any]] = [
        {"level": level, "heights_mm": asdict(heights[level]), "known_grade": truth.get(level)} for level in levels
    ]
    for rule in GRADING_RULES:
        for row, grading in zip(rows, grade_column(list(heights.values()), levels, rule), strict=True):
            if grading is not None:
                row[rule] = {"grade": grading.grade, "severity": round(grading.height_loss, 3), "shape": grading.shape}
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=Path, default=None, help="CSV of expert height readings")
    parser.add_argument(
        "--mask", type=Path, nargs=3, default=None, metavar=("LABELS", "CENTROIDS", "GRADES"), help="a graded label map"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    arguments = parser.parse_args()
    content: dict[str, Any] = {}
    if arguments.readings is not None:
        readings = read_heights(arguments.readings)
        content["readings"] = {rule: asdict(agreement(readings, rule)) for rule in GRADING_RULES}
    if arguments.mask is not None:
        content["mask"] = mask_table(*arguments.mask)
    arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
