"""Random and demonstration options: the population from which training phantoms are drawn.

About half of the phantoms have no fracture and look as old and as degenerated as the others, so that nothing but the
vertebra's own shape tells the two apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from VertebralFractureLib.research.phantom.level_sizes import FRACTURE_PREVALENCE, spine_levels
from VertebralFractureLib.research.phantom.options import GRADE_LOSS, FractureOptions, PhantomOptions

_STREAM, _NUMBERING_STREAM = 20201, 1616
_COVERAGE = {
    "thorax": (("L1", "L2", "T12", "L3"), ("C7", "T1", "C6", "C5")),
    "abdomen": (("S2", "S1", "L5", "S2"), ("T8", "T9", "T10", "T7")),
    "trunk": (("S2", "S1", "S2", "L5"), ("C6", "T1", "C7", "T3")),
    "short": (("L2", "L4", "L3", "T8"), ("T9", "T6", "T12", "T3")),
}


def random_options(
    seed: int,
    *,
    field_of_view: str | None = None,
    spacing_mm: tuple[float, float, float] | None = None,
    fractures: int | None = None,
) -> PhantomOptions:
    """One patient and one scan at random; ``None`` leaves a choice to chance.

    ``fractures`` counts those inside the field of view (fewer only where it holds too few levels).
    """
    rng = np.random.default_rng([_STREAM, seed])
    female = bool(rng.random() < 0.55)
    age = float(np.clip(rng.normal(66.0, 13.0), 25.0, 95.0))
    thoracic = int(rng.choice([11, 12, 13], p=[0.02, 0.94, 0.04]))
    lumbar = int(rng.choice([4, 5, 6], p=[0.02, 0.92, 0.06]))
    levels = spine_levels(thoracic, lumbar)
    caudal, cranial = _coverage(rng, levels)
    visible = levels[levels.index(caudal) + 1 : levels.index(cranial)]
    view = field_of_view or ("spine" if rng.random() < 0.5 else "full")
    spacing, thickness, orientation = _acquisition(rng, view, spacing_mm)
    sharp = float(np.clip(rng.exponential(0.25), 0.0, 1.0))
    coarse = rng.random()
    drawn = _fractures(rng, visible, fractures)
    density = float(np.clip(rng.normal(226.0 - 2.5 * max(age - 28.0, 0.0), 38.0), 30.0, 300.0))
    return PhantomOptions(
        seed=seed,
        female=female,
        age_years=round(age, 1),
        size_factor=round(float(rng.normal(1.10 if female else 1.19, 0.045)), 3),
        fat_mm=round(float(rng.uniform(8.0, 38.0)), 1),
        thoracic_count=thoracic,
        lumbar_count=lumbar,
        kyphosis_deg=round(float(np.clip(rng.normal(30.0 + 0.18 * max(age - 40.0, 0.0), 11.0), 12.0, 72.0)), 1),
        lordosis_deg=round(float(np.clip(rng.normal(38.0, 11.0), 12.0, 62.0)), 1),
        sacral_slope_deg=round(float(np.clip(rng.normal(34.0, 7.0), 15.0, 52.0)), 1),
        scoliosis_deg=round(float(rng.normal(0.0, 5.0) if rng.random() < 0.8 else rng.normal(0.0, 18.0)), 1),
        trabecular_hu=round(density, 1),
        cortical_hu=round(float(np.clip(rng.normal(295.0 + 0.75 * density, 65.0), 270.0, 700.0)), 1),
        degeneration=round(float(np.clip(rng.beta(1.6, 2.4) * (0.5 + age / 120.0), 0.0, 1.0)), 3),
        schmorl_nodes=int(rng.choice([0, 1, 2, 3, 5], p=[0.62, 0.16, 0.11, 0.07, 0.04])),
        fractures=drawn,
        contrast=str(rng.choice(["none", "arterial", "portal"], p=[0.45, 0.2, 0.35])),
        screw_levels=_neighbors(rng, visible, drawn) if rng.random() < 0.04 else (),
        cement_levels=tuple(item.level for item in drawn[:1]) if rng.random() < 0.05 else (),
        field_of_view=view,
        caudal_level=caudal,
        cranial_level=cranial,
        caudal_shift_mm=round(float(rng.uniform(-9.0, 12.0)), 1),
        cranial_shift_mm=round(float(rng.uniform(-12.0, 9.0)), 1),
        spacing_mm=spacing,
        slice_thickness_mm=thickness,
        orientation=orientation,
        tilt_deg=(0.0, 0.0) if coarse < 0.8 else (round(rng.normal(0.0, 6.0), 1), round(rng.normal(0.0, 3.0), 1)),
        descending=bool(rng.random() < 0.25),
        blur_mm=round(float(rng.uniform(0.35, 0.85) * (1.0 - 0.45 * sharp)), 3),
        sharpening=round(sharp, 3),
        noise_hu=round(float(np.clip(rng.lognormal(2.55, 0.45) * (1.0 + 1.2 * sharp), 4.0, 75.0)), 1),
        table=bool(rng.random() < 0.8),
    )


def numbering_options(seed: int, spacing_mm: tuple[float, float, float]) -> PhantomOptions:
    """One patient at random whose levels are to be counted: the whole column, its variants far more often than in life.

    Ribs may be thin or faint, the last ones hardly there or unequal, and half of the columns reach the skull.
    """
    rng = np.random.default_rng([_NUMBERING_STREAM, seed])
    plain = random_options(seed, field_of_view="spine", spacing_mm=spacing_mm, fractures=0 if seed % 3 else None)
    to_skull = bool(rng.random() < 0.5)
    thoracic = int(rng.choice([11, 12, 13], p=[0.08, 0.76, 0.16]))
    lumbar = int(rng.choice([4, 5, 6], p=[0.08, 0.76, 0.16]))
    levels = spine_levels(thoracic, lumbar, to_skull=to_skull)
    length = float(rng.uniform(12.0, 60.0) if rng.random() < 0.5 else rng.uniform(60.0, 170.0))
    return replace(
        plain,
        thoracic_count=thoracic,
        lumbar_count=lumbar,
        fractures=tuple(item for item in plain.fractures if item.level in levels),
        screw_levels=tuple(level for level in plain.screw_levels if level in levels),
        cement_levels=tuple(level for level in plain.cement_levels if level in levels),
        caudal_level=str(rng.choice(["S3", "S2", "S1"])),
        cranial_level="C2" if to_skull else "C3",
        cranial_shift_mm=round(float(rng.uniform(15.0, 75.0)), 1) if to_skull else plain.cranial_shift_mm,
        orientation="axial",
        rib_thickness=round(float(rng.uniform(0.75, 1.35)), 3),
        rib_density=round(float(rng.uniform(0.55, 1.1)), 3),
        last_rib_mm=(round(length, 1), round(length * float(rng.uniform(0.5, 1.2)), 1)),
        to_skull=to_skull,
    )


def demo_options() -> PhantomOptions:
    """The demonstration: T4 to S1 of a 74-year-old woman with a wedge, a biconcave and a crush fracture."""
    return PhantomOptions(
        seed=7,
        age_years=74.0,
        kyphosis_deg=44.0,
        lordosis_deg=42.0,
        scoliosis_deg=5.0,
        trabecular_hu=112.0,
        cortical_hu=400.0,
        degeneration=0.25,
        fractures=(
            FractureOptions("T8", "wedge", 0.33),
            FractureOptions("T12", "crush", 0.46),
            FractureOptions("L3", "biconcave", 0.30),
        ),
        contrast="portal",
        caudal_level="S2",
        cranial_level="T3",
        caudal_shift_mm=-4.0,
        noise_hu=13.0,
        spacing_mm=(1.0, 1.0, 2.0),
    )


def _coverage(rng: np.random.Generator, levels: tuple[str, ...]) -> tuple[str, str]:
    kind = str(rng.choice(list(_COVERAGE), p=[0.34, 0.28, 0.26, 0.12]))
    pick = int(rng.choice(4, p=[0.35, 0.25, 0.2, 0.2])) if kind != "short" else int(rng.integers(4))
    caudal = _COVERAGE[kind][0][pick]
    cranial = _COVERAGE[kind][1][pick if kind == "short" else int(rng.integers(4))]
    caudal = caudal if caudal in levels else "S1"
    cranial = cranial if cranial in levels else "T11"
    return caudal, cranial


def _acquisition(
    rng: np.random.Generator, view: str, spacing_mm: tuple[float, float, float] | None
) -> tuple[tuple[float, float, float], float, str]:
    step = round(float(rng.uniform(0.75, 1.1) if view == "spine" else rng.uniform(0.9, 1.5)), 3)
    slices = float(
        rng.choice([1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0], p=[0.1, 0.1, 0.15, 0.2, 0.2, 0.15, 0.05, 0.05])
    )
    sagittal = rng.random() < 0.06
    overlap = 1.0 if rng.random() < 0.75 else float(rng.uniform(1.2, 1.6))
    spacing = spacing_mm or (step, step, slices)
    if sagittal and spacing_mm is None:
        spacing = (step, step, float(rng.uniform(1.5, 4.0)))
    return spacing, round(spacing[2] * overlap, 3), "sagittal" if sagittal else "axial"


def _fractures(rng: np.random.Generator, visible: tuple[str, ...], count: int | None) -> tuple[FractureOptions, ...]:
    wanted = count
    if wanted is None:
        wanted = 0 if rng.random() < 0.5 else int(rng.choice([1, 2, 3, 4], p=[0.5, 0.27, 0.14, 0.09]))
    able = [level for level in visible if level in FRACTURE_PREVALENCE]
    weights = np.array([FRACTURE_PREVALENCE[level] for level in able])
    wanted = min(wanted, len(able))
    if wanted == 0:
        return ()
    chosen = set(rng.choice(able, size=wanted, replace=False, p=weights / weights.sum()).tolist())
    return tuple(_fracture(rng, level) for level in able if level in chosen)


def _fracture(rng: np.random.Generator, level: str) -> FractureOptions:
    lumbar = level.startswith("L")
    shape = str(rng.choice(["wedge", "biconcave", "crush"], p=[0.35, 0.45, 0.2] if lumbar else [0.6, 0.2, 0.2]))
    grade = int(rng.choice([1, 2, 3], p=[0.3, 0.42, 0.28]))
    low, high = GRADE_LOSS[grade]
    return FractureOptions(level, shape, round(float(rng.uniform(low + 0.005, high - 0.005)), 3))


def _neighbors(
    rng: np.random.Generator, visible: tuple[str, ...], drawn: tuple[FractureOptions, ...]
) -> tuple[str, ...]:
    able = [level for level in visible if level in FRACTURE_PREVALENCE and level not in {f.level for f in drawn}]
    if len(able) < 2:
        return ()
    first = int(rng.integers(len(able) - 1))
    return tuple(able[first : first + int(rng.integers(2, 5))])
