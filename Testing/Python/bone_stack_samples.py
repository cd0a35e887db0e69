"""Four blocks of bone one above the other, for what deforms vertebrae in straight space."""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.simulation.noise_texture import blurred

ORIGIN = (-24.0, -20.0, -10.0)
BOXES = [BodyBox(10.0 + 26.0 * n, 30.0 + 26.0 * n, 8.0, 38.0, -16.0, 16.0) for n in range(4)]


def a_stack_of_blocks(slice_mm: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Bodies of 300 HU, 20 mm high with discs of 6 mm, in a background of 0; seen with slices of a thickness."""
    s, a, r = (np.arange(n) + o for n, o in zip((140, 76, 49), ORIGIN[::-1], strict=True))
    hu = np.zeros((140, 76, 49), dtype=np.float32)
    for box in BOXES:
        rows = (s >= box.s_inf) & (s <= box.s_sup)
        columns = (a >= box.a_post) & (a <= box.a_ant)
        hu[np.ix_(rows, columns, (r >= box.r_left) & (r <= box.r_right))] = 300.0
    return (blurred(hu, 0.42 * slice_mm) if slice_mm else hu), np.ones(hu.shape, dtype=bool)
