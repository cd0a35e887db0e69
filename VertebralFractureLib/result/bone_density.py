"""One number for the bone of a scan: the trabecular HU at L1, with what is known of tube voltage and contrast medium.

It is opportunistic: nothing was calibrated. What is not known is said, because 100 kV alone adds 8 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from VertebralFractureLib.result.report import BoneDensity
from VertebralFractureLib.vertebrae.vertebra import Vertebra

_LEVELS = ("L1", "T12", "L2", "T11", "L3")
"""L1, which the literature's cut-offs are for, or the nearest to it."""
_TO_120_KV = {100: 0.927, 120: 1.0, 140: 1.053}
"""Source: the design's table (HU at 120 kV over HU at the voltage)."""
_HIGHEST_KV = 1000.0
"""No tube has more: a header that claims it holds something else."""
_CONTRAST_HU = "15 (portal) to 20 HU (arterial)"


def bone_density(vertebrae: Sequence[Vertebra], identifiers: Mapping[str, str]) -> BoneDensity | None:
    """The trabecular HU of the vertebra that stands for the scan; None where none of T11 to L3 can.

    Args:
        identifiers: of the input; ``kvp`` and ``contrast_agent`` are there where the scan came from DICOM.
    """
    known = {v.level: v.trabecular_hu for v in vertebrae if v.trabecular_hu is not None}
    level = next((name for name in _LEVELS if name in known), None)
    if level is None:
        return None
    hu = known[level]
    voltage = _voltage(identifiers)
    factor = None if voltage is None else _TO_120_KV.get(round(voltage))
    contrast = {"yes": True, "no": False}.get(identifiers.get("contrast_agent", ""))
    at_120 = None if factor is None else hu * factor
    return BoneDensity(level, hu, at_120, voltage, contrast, _note(voltage, factor, contrast))


def _voltage(identifiers: Mapping[str, str]) -> float | None:
    try:
        value = float(identifiers.get("kvp", ""))
    except ValueError:
        return None
    return value if 0.0 < value <= _HIGHEST_KV else None


def _note(voltage: float | None, factor: float | None, contrast: bool | None) -> str:
    words = ["Not calibrated."]
    if voltage is None:
        words.append("The tube voltage is not known; the value holds for 120 kV only.")
    elif factor is None:
        words.append(f"There is no correction for {voltage:g} kV.")
    if contrast is None:
        words.append(f"Whether contrast medium was given is not known; it would add {_CONTRAST_HU}.")
    elif contrast:
        words.append(f"Contrast medium was given, which adds {_CONTRAST_HU}; the phase is not known.")
    return " ".join(words)
