"""Labels and numbers of the vertebral levels.

Numbers follow the VerSe convention (Sekuboyina et al. 2021): C1 = 1 ... C7 = 7, T1 = 8 ... T12 = 19, L1 = 20 ...
L5 = 24, L6 = 25, S1 = 26, T13 = 28. Anatomical order is not number order, because of T13: use ``CRANIAL_TO_CAUDAL``.
"""

from __future__ import annotations

LEVEL_NUMBERS: dict[str, int] = {
    **{f"C{n}": n for n in range(1, 8)},
    **{f"T{n}": n + 7 for n in range(1, 13)},
    "T13": 28,
    **{f"L{n}": n + 19 for n in range(1, 7)},
    "S1": 26,
}
CRANIAL_TO_CAUDAL: tuple[str, ...] = tuple(LEVEL_NUMBERS)
LEVEL_NAMES: dict[int, str] = {number: name for name, number in LEVEL_NUMBERS.items()}

SCORED_LEVELS: tuple[str, ...] = tuple([f"T{n}" for n in range(1, 14)] + [f"L{n}" for n in range(1, 7)])
"""What the fracture model was made for; the cervical spine and the sacrum are found but not scored."""

SPINAL_DEFORMITY_INDEX_LEVELS: tuple[str, ...] = tuple([f"T{n}" for n in range(4, 13)] + [f"L{n}" for n in range(1, 5)])
"""T4 to L4, as in Genant 1993."""
