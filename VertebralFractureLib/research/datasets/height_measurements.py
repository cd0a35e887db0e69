"""Public expert readings of vertebral heights.

The table is that of neuro-ml/anchor-free-genant: 2 or 3 experts on each of 100 CTs, three segments a vertebra, in
voxels. Only ratios of them mean anything, which is all that the rules use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from VertebralFractureLib.checked_json import show_value
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.research.datasets.table_file import read_rows
from VertebralFractureLib.vertebrae.vertebra import Heights

_COLUMNS = ("ant_len_vox", "mid_len_vox", "post_len_vox")
_LONGEST_VOXELS = 10_000.0

Readings = Mapping[tuple[str, str], Mapping[str, Heights]]
"""By (scan, expert), then by level."""


def read_heights(table: Path) -> Readings:
    """The readings of a CSV with columns scan, expert, level, ant_len_vox, mid_len_vox, post_len_vox.

    Raises:
        RefusedContent: a ``ValueError``, when a column is missing, or a cell holds no height or no level.
    """
    readings: dict[tuple[str, str], dict[str, Heights]] = {}
    for number, row in enumerate(read_rows(table), 1):
        try:
            heights = Heights(*(_length(row[column], column) for column in _COLUMNS))
            readings.setdefault((row["scan"], row["expert"]), {})[row["level"]] = heights
        except KeyError as error:
            raise RefusedContent(f"'{table.name}' holds no height readings: it lacks the column {error}.") from None
        except RefusedContent as error:
            raise RefusedContent(f"'{table.name}', row {number}, {error}.") from None
    return readings


def _length(text: str, column: str) -> float:
    try:
        length = float(text)
    except ValueError:
        length = math.nan
    if not 0.0 < length < _LONGEST_VOXELS:
        raise RefusedContent(f"'{column}' holds {show_value(text)}; allowed is a length in voxels, more than 0")
    return length
