"""Subgroups by any characteristic of patient or scan: a column of a user's table, or what the scan itself says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from VertebralFractureLib.research.evaluation.judged import JudgedScan

_MOST_GROUPS = 8
"""A column with more different words than that names scans and groups nothing."""
UNKNOWN = "unknown"
_UP_TO, _ABOVE = "up to ", "above "


def with_characteristics(scans: Sequence[JudgedScan], table: Mapping[str, Mapping[str, str]]) -> list[JudgedScan]:
    """The scans with what a table says of each beside what they have."""
    return [replace(scan, characteristics={**scan.characteristics, **table.get(scan.identifier, {})}) for scan in scans]


def groups_by_characteristic(scans: Sequence[JudgedScan]) -> dict[str, dict[str, list[JudgedScan]]]:
    """By column and group, its scans: words as they are, numbers in thirds where there are more than eight.

    Columns of one group alone, and of too many words to be groups, are left out; an empty cell is "unknown".
    """
    columns = dict.fromkeys(name for scan in scans for name in scan.characteristics)
    result = {}
    for column in columns:
        cells = [scan.characteristics.get(column, "").strip() for scan in scans]
        names = _group_names(cells)
        if names is None:
            continue
        groups: dict[str, list[JudgedScan]] = {}
        for scan, name in zip(scans, names, strict=True):
            groups.setdefault(name, []).append(scan)
        if len(groups) > 1:
            result[column] = dict(sorted(groups.items(), key=lambda item: _order(item[0])))
    return result


def _group_names(cells: Sequence[str]) -> list[str] | None:
    different = {cell for cell in cells if cell}
    if len(different) <= _MOST_GROUPS:
        return [cell or UNKNOWN for cell in cells]
    numbers = [_as_number(cell) for cell in cells]
    if any(cell and number is None for cell, number in zip(cells, numbers, strict=True)):
        return None
    known = [number for number in numbers if number is not None]
    low, high = np.quantile(known, [1 / 3, 2 / 3])
    return [UNKNOWN if number is None else _third(number, float(low), float(high)) for number in numbers]


def _order(name: str) -> tuple[int, str]:
    """Where a group stands: the lowest third first, the highest after it, what is unknown last."""
    if name == UNKNOWN:
        return 3, name
    return (0 if name.startswith(_UP_TO) else 2 if name.startswith(_ABOVE) and " to " not in name else 1), name


def _third(number: float, low: float, high: float) -> str:
    if number <= low:
        return f"{_UP_TO}{low:g}"
    return f"{_ABOVE}{low:g} to {high:g}" if number <= high else f"{_ABOVE}{high:g}"


def _as_number(text: str) -> float | None:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
