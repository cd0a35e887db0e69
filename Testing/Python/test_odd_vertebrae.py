"""Vertebrae that a spacing rule would lose, on an image: bridged, fused, collapsed, cut by the field of view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.cpr import StraightenedVolume, straighten
from VertebralFractureLib.research.datasets import BodyBox, ReferenceVertebra
from VertebralFractureLib.research.phantom import Phantom
from VertebralFractureLib.vertebrae import Vertebra, localize_vertebrae
from VertebralFractureLib.vertebrae.vertebra import Reason

pytest.importorskip("torch")

BONE_HU = 550.0


@pytest.fixture(scope="module")
def a_spine(a_phantom: Phantom) -> StraightenedVolume:
    return straighten(a_phantom.ct, a_phantom.reference.centerline)


def boxes_of(phantom: Phantom) -> list[BodyBox]:
    return [v.box for v in phantom.reference.vertebrae if v.box is not None and v.level != "S1"]


def whole_ones(phantom: Phantom) -> list[ReferenceVertebra]:
    return [v for v in phantom.reference.vertebrae if v.complete and v.level != "S1"]


def painted(
    spine: StraightenedVolume, a_mm: tuple[float, float], s_mm: tuple[float, float], r_mm: float
) -> StraightenedVolume:
    """The spine with bone in a box around the canal's plane."""
    hu = np.array(spine.hu, dtype=np.float32)
    r, a, s = (spine.axis_mm(axis) for axis in "ras")
    where = np.ix_((s >= s_mm[0]) & (s <= s_mm[1]), (a >= a_mm[0]) & (a <= a_mm[1]), np.abs(r) <= r_mm)
    hu[where] = np.maximum(hu[where], BONE_HU)
    return replace(spine, hu=hu)


def distances(found: Sequence[Vertebra], true: Sequence[ReferenceVertebra]) -> list[float]:
    """From every true center to the nearest found one, in mm."""
    centers = np.array([v.center_ras for v in found])
    return [float(np.linalg.norm(centers - np.array(v.center_ras), axis=1).min()) for v in true]


def test_vertebrae_bridged_in_front_over_four_levels_stay_apart(
    a_phantom: Phantom, a_spine: StraightenedVolume
) -> None:
    boxes = boxes_of(a_phantom)[3:7]
    front = float(np.mean([box.a_ant for box in boxes]))
    bridged = painted(a_spine, (front - 2.0, front + 5.0), (boxes[0].s_inf, boxes[-1].s_sup), 14.0)

    before, after = localize_vertebrae(a_spine), localize_vertebrae(bridged)

    assert len(after) == len(before)
    assert max(distances(after, whole_ones(a_phantom))) < 5.0


def test_two_vertebrae_whose_disc_has_turned_to_bone_at_its_rims_are_still_two(
    a_phantom: Phantom, a_spine: StraightenedVolume
) -> None:
    below, above = boxes_of(a_phantom)[1:3]
    disc = (below.s_sup - 1.0, above.s_inf + 1.0)
    fused = painted(a_spine, (below.a_ant - 8.0, below.a_ant), disc, 16.0)
    fused = painted(fused, (below.a_post, below.a_post + 6.0), disc, 16.0)

    after = localize_vertebrae(fused)

    assert len(after) == len(localize_vertebrae(a_spine))
    assert max(distances(after, whole_ones(a_phantom))) < 5.0


def test_the_collapsed_vertebra_is_among_those_found(a_phantom: Phantom, a_spine: StraightenedVolume) -> None:
    collapsed = [v for v in whole_ones(a_phantom) if v.level == "T12"]

    assert len(collapsed) == 1
    assert max(distances(localize_vertebrae(a_spine), collapsed)) < 4.0


@pytest.mark.parametrize("at_the_top", [True, False])
def test_a_vertebra_cut_through_its_middle_is_found_and_marked_and_takes_part_in_the_count(
    a_phantom: Phantom, a_spine: StraightenedVolume, at_the_top: bool
) -> None:
    s = a_spine.axis_mm("s")
    box = boxes_of(a_phantom)[-3 if at_the_top else 2]
    keep = s <= 0.5 * (box.s_inf + box.s_sup) if at_the_top else s >= 0.5 * (box.s_inf + box.s_sup)
    origin = (*a_spine.origin_mm[:2], float(s[keep][0]))
    short = replace(a_spine, hu=a_spine.hu[keep], inside=a_spine.inside[keep], origin_mm=origin)

    found = localize_vertebrae(short)

    cut, others = (found[-1], found[:-1]) if at_the_top else (found[0], found[1:])
    assert (cut.complete, cut.reason) == (False, Reason.TRUNCATED)
    assert cut.heights_mm is None or cut.morphometric_grade is None
    assert box.s_inf - 6.0 < cut.middle_mm < box.s_sup + 6.0
    assert all(v.complete for v in others[1:-1])
    named = {v.level for v in others} - {None}
    assert cut.level is None or cut.level not in named
