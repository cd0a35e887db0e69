"""Sizes of each vertebral level, before the patient's scale, and the curvature of an average spine lying down.

Posterior height, endplate width and depth of T1 to L5 follow Panjabi et al. (Spine 1991 and 1992), Ha/Hp and Hm/Hp of
T1 to L2 the medians of public height readings; the rest are rounded textbook values that only have to look right,
because truth is read from what was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LevelSize:
    """One level, mm unless said otherwise; ``anterior_ratio`` and ``middle_ratio`` are Ha/Hp and Hm/Hp.

    ``disc_below_mm`` is how far the rims are apart below this level. ``spinous_drop_deg`` is how steeply the spinous
    process falls. ``rib_length_mm`` is 0 where there is no rib.
    """

    posterior_height_mm: float
    width_mm: float
    depth_mm: float
    anterior_ratio: float
    middle_ratio: float
    disc_below_mm: float
    canal_width_mm: float
    canal_depth_mm: float
    pedicle_width_mm: float
    transverse_mm: float
    spinous_mm: float
    spinous_drop_deg: float
    rib_length_mm: float


LEVEL_SIZES: dict[str, LevelSize] = {
    "C2": LevelSize(18.0, 17.5, 15.0, 1.05, 0.93, 3.4, 24.0, 16.0, 6.0, 23.0, 22.0, 12.0, 0.0),
    "C3": LevelSize(12.5, 17.5, 15.0, 0.97, 0.90, 3.4, 23.0, 14.0, 5.0, 22.0, 18.0, 12.0, 0.0),
    "C4": LevelSize(12.2, 18.0, 15.2, 0.97, 0.90, 3.4, 23.0, 14.0, 5.0, 22.5, 19.0, 12.0, 0.0),
    "C5": LevelSize(12.0, 19.0, 15.4, 0.97, 0.90, 3.4, 23.5, 14.0, 5.2, 23.0, 20.0, 14.0, 0.0),
    "C6": LevelSize(12.0, 21.0, 15.8, 0.97, 0.90, 3.4, 23.5, 14.0, 5.5, 24.0, 25.0, 16.0, 0.0),
    "C7": LevelSize(13.0, 23.0, 16.5, 0.97, 0.89, 3.2, 22.5, 14.0, 6.0, 29.0, 34.0, 20.0, 0.0),
    "T1": LevelSize(14.1, 24.5, 18.5, 0.966, 0.862, 2.8, 20.0, 14.5, 7.0, 33.0, 36.0, 25.0, 140.0),
    "T2": LevelSize(15.6, 24.9, 19.6, 0.983, 0.863, 2.5, 18.0, 14.0, 6.5, 31.0, 36.0, 35.0, 210.0),
    "T3": LevelSize(15.7, 24.6, 22.7, 0.964, 0.854, 2.3, 17.0, 14.0, 5.5, 29.0, 37.0, 42.0, 260.0),
    "T4": LevelSize(16.2, 24.5, 23.3, 0.943, 0.855, 2.2, 16.5, 14.0, 4.8, 29.0, 38.0, 48.0, 290.0),
    "T5": LevelSize(16.2, 24.9, 24.3, 0.911, 0.844, 2.2, 16.5, 14.0, 4.8, 29.0, 40.0, 54.0, 310.0),
    "T6": LevelSize(17.4, 26.2, 26.0, 0.882, 0.841, 2.3, 16.5, 14.0, 5.0, 29.0, 41.0, 57.0, 320.0),
    "T7": LevelSize(18.2, 27.8, 27.4, 0.868, 0.842, 2.4, 16.5, 14.0, 5.2, 29.0, 41.0, 57.0, 320.0),
    "T8": LevelSize(18.7, 29.5, 27.9, 0.891, 0.847, 2.6, 16.5, 14.2, 5.5, 29.0, 40.0, 52.0, 310.0),
    "T9": LevelSize(19.3, 30.6, 29.3, 0.922, 0.852, 2.8, 16.8, 14.4, 6.2, 28.0, 37.0, 44.0, 290.0),
    "T10": LevelSize(20.2, 31.9, 30.5, 0.945, 0.863, 3.0, 17.0, 14.6, 7.0, 26.0, 33.0, 34.0, 250.0),
    "T11": LevelSize(21.3, 34.9, 31.9, 0.918, 0.849, 3.4, 18.0, 15.2, 8.2, 22.0, 30.0, 22.0, 170.0),
    "T12": LevelSize(22.7, 39.0, 32.8, 0.916, 0.862, 3.8, 20.5, 16.0, 8.2, 20.0, 29.0, 14.0, 100.0),
    "T13": LevelSize(23.3, 40.0, 33.5, 0.925, 0.860, 4.2, 21.0, 16.0, 8.0, 22.0, 29.0, 12.0, 60.0),
    "L1": LevelSize(23.8, 41.2, 34.1, 0.938, 0.859, 5.0, 21.5, 16.0, 8.0, 35.0, 31.0, 9.0, 0.0),
    "L2": LevelSize(24.3, 42.6, 34.6, 0.955, 0.865, 6.0, 22.0, 15.5, 8.4, 38.0, 32.0, 9.0, 0.0),
    "L3": LevelSize(23.8, 44.1, 35.2, 0.99, 0.870, 7.0, 22.5, 15.5, 9.8, 42.0, 33.0, 9.0, 0.0),
    "L4": LevelSize(24.1, 46.6, 35.5, 1.03, 0.885, 7.6, 23.0, 15.8, 12.0, 40.0, 31.0, 9.0, 0.0),
    "L5": LevelSize(22.9, 47.3, 34.7, 1.14, 0.940, 8.0, 25.0, 16.5, 15.0, 42.0, 25.0, 9.0, 0.0),
    "L6": LevelSize(22.9, 48.0, 34.0, 1.14, 0.940, 7.5, 26.0, 16.0, 15.0, 43.0, 22.0, 9.0, 0.0),
    "S1": LevelSize(24.0, 47.0, 31.0, 1.10, 0.97, 2.2, 28.0, 14.0, 15.0, 24.0, 12.0, 5.0, 0.0),
    "S2": LevelSize(20.0, 37.0, 21.0, 1.08, 0.98, 1.6, 23.0, 10.0, 12.0, 20.0, 9.0, 5.0, 0.0),
    "S3": LevelSize(17.0, 30.0, 15.0, 1.05, 0.98, 1.2, 17.0, 7.0, 10.0, 16.0, 7.0, 5.0, 0.0),
}

FRACTURE_PREVALENCE: dict[str, float] = {
    "T3": 0.5, "T4": 1.5, "T5": 3.0, "T6": 5.0, "T7": 9.0, "T8": 10.0, "T9": 6.0, "T10": 5.0, "T11": 8.0,
    "T12": 16.0, "T13": 12.0, "L1": 17.0, "L2": 9.0, "L3": 6.0, "L4": 4.0, "L5": 2.0, "L6": 1.0,
}  # fmt: skip
"""Relative frequency of osteoporotic fractures, two peaks at T7-T8 and T12-L1 (shape only, rounded by hand)."""

LORDOSIS_SHARE: dict[str, float] = {"S1": 0.32, "L5": 0.26, "L4": 0.19, "L3": 0.14, "L2": 0.09}
"""Share of the lordosis in the joint above each level."""


def spine_levels(thoracic: int, lumbar: int, *, to_skull: bool = False) -> tuple[str, ...]:
    """Every level that is drawn, caudal to cranial, S3 to C3, or to C2 where the skull is drawn too."""
    lumbars = [f"L{n}" for n in range(lumbar, 0, -1)]
    thoracics = [f"T{n}" for n in range(thoracic, 0, -1)]
    axis = ("C2",) if to_skull else ()
    return ("S3", "S2", "S1", *lumbars, *thoracics, "C7", "C6", "C5", "C4", "C3", *axis)
