"""Public expert readings of vertebral heights.

The table is that of neuro-ml/anchor-free-genant: 2 or 3 experts on each of 100 CTs, three segments a vertebra, in
voxels. Only ratios of them mean anything, which is all that the rules use.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from VertebralFractureLib.vertebrae.vertebra import Heights

Readings = Mapping[tuple[str, str], Mapping[str, Heights]]
"""By (scan, expert), then by level."""


def read_heights(table: Path) -> Readings:
    """The readings of a CSV with columns scan, expert, level, ant_len_vox, mid_len_vox, post_len_vox.

    Raises:
        ValueError: when a column is missing.
    """
    readings: dict[tuple[str, str], dict[str, Heights]] = {}
    with table.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            try:
                heights = Heights(float(row["ant_len_vox"]), float(row["mid_len_vox"]), float(row["post_len_vox"]))
                readings.setdefault((row["scan"], row["expert"]), {})[row["level"]] = heights
            except KeyError as error:
                raise ValueError(f"'{table.name}' holds no height readings: it lacks the column {error}.") from None
    return readings
