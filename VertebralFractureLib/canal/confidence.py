"""What a confidence means: with a map in the weights, the probability that the true center lies within 3 mm.

The network's own probability says how sure it is of a place against others and against "none". How often it is right at
that value can be counted on changed scans (``training/calibrate_cord.py``), which stores a monotone map in the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from VertebralFractureLib.types import FloatArray

CONFIG_KEY = "confidence"


def calibrated(raw: FloatArray, config: Mapping[str, Any]) -> FloatArray:
    """Confidence ``(n,)`` from 0 to 1; the raw one where the weights hold no map."""
    mapping = config.get(CONFIG_KEY)
    if mapping is None:
        return raw
    return np.asarray(np.interp(raw, mapping["raw"], mapping["calibrated"]))
