"""How often do the checks of the column see what is wrong, and how often do they cry wolf?

    python -m VertebralFractureLib.research.evaluation.evaluate_column_checks --data DATA --cache CACHE --out FILE

On the reference boxes of every scan: each body in turn is lost, each two neighbors are taken for one, each body is
found in half. On the straightened scans: each body's bone is replaced by soft tissue, or made as dense as sclerosis
and bone islands are, and the curve is moved aside.
What is said of the untouched scans is a false alarm. No network runs.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.cpr.canal_enclosure import weigh_enclosure
from VertebralFractureLib.cpr.hu_scale import shift_to_hu_scale
from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.density_changes import DensityChange, change_density
from VertebralFractureLib.research.training.fracture_data import boxes_of
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.thresholds import ENCLOSURE
from VertebralFractureLib.vertebrae.accounting import ColumnAccount, account_for_bodies
from VertebralFractureLib.vertebrae.endplates import BodyShape
from VertebralFractureLib.vertebrae.implants import (
    BodyDensity,
    find_destroyed,
    find_implanted,
    find_metal_beside,
    find_metal_within,
    measure_density,
)
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.vertebrae.sequence_search import Span

ASIDE_MM = (12.0, 16.0, 22.0)
OFFSETS_HU = (-100.0, -50.0, 50.0, 100.0, 150.0)
_SCLEROSES = (DensityChange.ISLAND, DensityChange.PATCHY, DensityChange.SCLEROTIC)
Extent = tuple[float, float]


def count_case(case: StraightCase) -> Counter[str]:
    """Counts of one scan: ``"<what>"`` tried, and ``"<what>: seen"``."""
    found: Counter[str] = Counter()

    def enter(what: str, is_seen: bool) -> None:
        found[what] += 1
        found[f"{what}: seen"] += bool(is_seen)

    boxes = boxes_of(case)
    extents = [(box.s_inf, box.s_sup) for box in boxes]
    _count_account(extents, enter)
    spine = replace(case.volume, hu=np.asarray(case.volume.hu, dtype=np.float32), inside=np.asarray(case.volume.inside))
    bodies = [_as_found(box) for box in boxes]
    densities = [measure_density(spine, body) for body in bodies]
    for index in range(len(boxes)):
        enter("body, metal beside", find_metal_beside(densities)[index])
        enter("body, implanted", find_implanted(densities)[index])
        enter("body, destroyed", find_destroyed(densities)[index])
        if 0 < index < len(boxes) - 1:
            enter("bone replaced by soft tissue", find_destroyed(_with_soft(spine, bodies, densities, index))[index])
            dense = _with_sclerosis(spine, boxes, bodies, densities, index)
            enter("dense bone, not judged", find_implanted(dense)[index])
            enter("dense bone, called an implant", find_metal_within(dense)[index])
    for offset in (0.0, *OFFSETS_HU):
        off = np.where(spine.inside, spine.hu + np.float32(offset), spine.hu).astype(np.float32)
        enter(f"{offset:+g} HU", shift_to_hu_scale(replace(spine, hu=off))[1] is not None)
    rows = (spine.axis_mm("s") >= extents[0][0]) & (spine.axis_mm("s") <= extents[-1][1])
    for aside in (0.0, *ASIDE_MM):
        for angle in np.arange(8) * np.pi / 4.0 if aside else (0.0,):
            r, a, s = spine.origin_mm
            moved = replace(spine, origin_mm=(r - aside * float(np.sin(angle)), a - aside * float(np.cos(angle)), s))
            low = weigh_enclosure(moved)[rows] < ENCLOSURE.judged_from
            found[f"mm of curve {aside:g} mm aside"] += len(low)
            found[f"mm of curve {aside:g} mm aside: seen"] += int(low.sum())
    return found


def _count_account(extents: Sequence[Extent], enter: Callable[[str, bool], None]) -> None:
    def account(column: Sequence[Extent]) -> ColumnAccount:
        return account_for_bodies(column, [True] * len(column), [None] * len(column))

    enter("column as it is", account(extents).trouble > 0)
    for index in range(1, len(extents) - 1):
        lost = account([*extents[:index], *extents[index + 1 :]])
        enter("body lost", bool(lost.beside_hole[index - 1] and lost.beside_hole[index]))
        low, high = extents[index]
        part = (low + 0.25 * (high - low), high - 0.25 * (high - low))
        enter("half a body found", bool(account([*extents[:index], part, *extents[index + 1 :]]).too_low[index]))
        if index < len(extents) - 2:
            one = (low, extents[index + 1][1])
            joined = account([*extents[:index], one, *extents[index + 2 :]])
            enter("two bodies taken for one", bool(joined.too_tall[index] or joined.beside_hole[index]))


def _as_found(box: BodyBox) -> LocalizedBody:
    middle = 0.5 * (box.a_post + box.a_ant)
    ends = [(a, s) for s in (box.s_sup, box.s_inf) for a in (box.a_ant, middle, box.a_post)]
    shape = BodyShape(box.a_post, box.a_ant, np.array(ends))
    return LocalizedBody(Span(box.s_inf, box.s_sup, 1.0), middle, shape, True, MidPlane.of_canal())


def _with_soft(
    spine: StraightenedVolume, bodies: Sequence[LocalizedBody], densities: Sequence[BodyDensity], index: int
) -> list[BodyDensity]:
    """The densities when soft tissue with noise takes the place of one body and its walls."""
    span, shape = bodies[index].span, bodies[index].shape
    if shape is None:
        return list(densities)
    s, a, r = spine.axis_mm("s"), spine.axis_mm("a"), spine.axis_mm("r")
    k, j = (np.flatnonzero((axis >= low - 3.0) & (axis <= high + 3.0)) for axis, low, high in (
        (s, span.s_inferior_mm, span.s_superior_mm), (a, shape.a_posterior, shape.a_anterior),
    ))  # fmt: skip
    box = np.ix_(k, j, np.flatnonzero(np.abs(r) <= 22.0))
    hu = spine.hu.copy()
    hu[box] = 50.0 + np.random.default_rng(index).normal(0.0, 15.0, hu[box].shape)
    changed = list(densities)
    changed[index] = measure_density(replace(spine, hu=hu), bodies[index])
    return changed


def _with_sclerosis(
    spine: StraightenedVolume,
    boxes: Sequence[BodyBox],
    bodies: Sequence[LocalizedBody],
    densities: Sequence[BodyDensity],
    index: int,
) -> list[BodyDensity]:
    """The densities when one body holds a bone island, patchy sclerosis, or is sclerotic as a whole, in turn."""
    rng = np.random.default_rng(index)
    hu = change_density(spine.hu, spine.origin_mm, boxes[index], _SCLEROSES[index % len(_SCLEROSES)], rng)
    changed = list(densities)
    changed[index] = measure_density(replace(spine, hu=hu), bodies[index])
    return changed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--phantoms", type=int, nargs=2, default=(500_000, 500_000), help="first seed and one past")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the counts")


def run(arguments: argparse.Namespace) -> int:
    """Count over all scans and phantoms, into one JSON file and onto the terminal."""
    total: Counter[str] = Counter()
    for case in load_or_build_cases(arguments.cache, arguments.data, range(*arguments.phantoms)):
        total += count_case(case)
    for what in sorted(name for name in total if not name.endswith(": seen")):
        print(f"{what}: {total[f'{what}: seen']} of {total[what]}")
    arguments.out.write_text(json.dumps(dict(sorted(total.items())), indent=1) + "\n", encoding="utf-8")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
