"""Bodies that lost, copied or moved slices touch are not judged, and names are counted on each side of a jump alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.pipeline import detect
from VertebralFractureLib.vertebrae import localize_vertebrae
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel
from VertebralFractureLib.vertebrae.lost_slices import (
    SpineFault,
    drop_contradicting_names,
    locate_faults,
    split_at_jumps,
)
from VertebralFractureLib.vertebrae.vertebra import Reason, Status
from VertebralFractureLib.volume.continuity import FaultKind


def labels(*levels: str | None) -> list[LevelLabel]:
    return [LevelLabel(level, 0.9) for level in levels]


@pytest.fixture(scope="module")
def t10_lost(a_phantom):
    """The phantom with the slices through T10's middle filled with zeros, and the arc lengths of that body."""
    spine = straighten(a_phantom.ct, a_phantom.reference.centerline)
    body = next(v for v in a_phantom.reference.vertebrae if v.level == "T10")
    k = round(float(a_phantom.ct.ras_to_ijk_points(np.array([body.center_ras]))[0, 2]))
    hu = a_phantom.ct.hu.copy()
    hu[k - 2 : k + 3] = 0
    middle = float(spine.frame.ras_to_straight(np.array([body.center_ras]))[0, 2])
    return replace(a_phantom.ct, hu=hu), spine, middle


def test_lost_slices_are_located_where_the_body_lies(t10_lost):
    ct, spine, middle = t10_lost

    (fault,) = locate_faults(ct, spine.frame)

    assert fault.kind == FaultKind.EMPTY
    assert not fault.loses_count
    assert fault.middle_mm == pytest.approx(middle, abs=3.0)
    assert fault.touches((middle - 10.0, middle + 10.0))
    assert not fault.touches((middle + 20.0, middle + 40.0))


def test_a_whole_scan_has_no_fault_along_its_spine(a_phantom, t10_lost):
    assert locate_faults(a_phantom.ct, t10_lost[1].frame) == ()


def test_a_body_is_hidden_by_lost_slices_but_not_by_a_jump():
    lost, jump = (SpineFault(kind, 10.0, 30.0, kind == FaultKind.JUMP) for kind in (FaultKind.EMPTY, FaultKind.JUMP))

    assert lost.hides((12.0, 32.0))
    assert not lost.hides((26.0, 46.0))
    assert not jump.hides((12.0, 32.0))
    assert jump.touches((26.0, 46.0))


def test_planes_along_the_spine_touch_every_body_and_hide_none():
    along = SpineFault(FaultKind.EMPTY, -np.inf, np.inf, loses_count=False)

    assert along.touches((0.0, 20.0))
    assert not along.hides((0.0, 20.0))
    assert split_at_jumps([10.0, 30.0], [along]) == [slice(0, 2)]


def test_names_are_counted_in_runs_on_either_side_of_a_jump_only():
    lost = SpineFault(FaultKind.EMPTY, 38.0, 42.0, loses_count=False)
    jump = SpineFault(FaultKind.JUMP, 60.0, 80.0, loses_count=True)

    assert split_at_jumps([10.0, 30.0, 50.0, 90.0], [lost, jump]) == [slice(0, 3), slice(3, 4)]


def test_names_of_a_run_that_contradict_a_longer_one_are_dropped():
    below, above = labels("L3", "L2", "L1"), labels("L1", "T12")

    assert [one.level for one in drop_contradicting_names([below, above])] == ["L3", "L2", "L1", None, None]
    assert [one.level for one in drop_contradicting_names([below, labels("T8", "T7")])] == [
        *("L3", "L2", "L1"),
        *("T8", "T7"),
    ]


@pytest.mark.parametrize("value", [-1024, 0, 40])
def test_a_body_of_which_a_box_was_lost_is_not_judged_and_the_others_are(a_phantom, value):
    """Given a box of one value over the upper part of T12, when the vertebrae are found along the true curve, then T12
    is not judged for that, and a body two levels away is judged as before.
    """
    ct, line = a_phantom.ct, a_phantom.reference.centerline
    t12 = next(v for v in a_phantom.reference.vertebrae if v.level == "T12")
    r, a, s = t12.center_ras
    corners = ct.ras_to_ijk_points(np.array([[r - 30.0, a - 14.0, s], [r + 30.0, a + 25.0, s + 10.0]]))
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    hu = ct.hu.copy()
    hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]] = value

    found = localize_vertebrae(straighten(replace(ct, hu=hu), line), in_view=ct.contains_points)
    whole = localize_vertebrae(straighten(ct, line), in_view=ct.contains_points)

    reasons = {v.label: v.reason for v in found if np.linalg.norm(np.array(v.center_ras) - (r, a, s)) < 15.0}
    assert Reason.SLICES_LOST in reasons.values() or not reasons
    assert {v.label: v.reason for v in found}["L2"] is None
    assert Reason.SLICES_LOST not in [v.reason for v in whole]


@pytest.mark.slow
def test_a_detection_judges_all_vertebrae_but_the_one_whose_slices_are_lost(a_phantom, t10_lost):
    """Given slices through T10 that were lost, then T10 alone is not judged, and the scan says where."""
    ct, _, _ = t10_lost

    report = detect(ct, centerline=a_phantom.reference.centerline).report

    status = {vertebra.label: (vertebra.status, vertebra.reason) for vertebra in report.vertebrae}
    touched = [v for v in report.vertebrae if v.reason == Reason.SLICES_LOST]
    assert [doubt.kind for doubt in report.doubts if doubt.kind != DoubtKind.HU_SCALE] == [DoubtKind.SLICES_EMPTY]
    assert status.get("T10", (Status.NOT_EVALUABLE, Reason.SLICES_LOST)) == (Status.NOT_EVALUABLE, Reason.SLICES_LOST)
    assert all(vertebra.heights_mm is None and vertebra.morphometric_grade is None for vertebra in touched)
    assert status["T12"][0] == Status.SCORED
    assert status["L1"][0] == Status.SCORED
