"""Volumes without a spine: drawn the same for the same seed, and holding what could pass for a canal."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralFractureLib.research.phantom.no_spine import NO_SPINE_KINDS, make_no_spine


@pytest.mark.parametrize("kind", NO_SPINE_KINDS)
def test_the_same_seed_draws_the_same_volume_and_another_seed_another(kind):
    first, again, other = (make_no_spine(kind, seed, (4.0, 4.0, 8.0)) for seed in (5, 5, 6))

    assert np.array_equal(first.hu, again.hu)
    assert first.hu.shape != other.hu.shape or not np.array_equal(first.hu, other.hu)


def test_a_leg_holds_dark_marrow_inside_a_ring_of_bone():
    ct = make_no_spine("legs", 1)

    row = ct.hu[len(ct.hu) // 4]
    bone = row > 700
    j, i = np.argwhere(bone).T
    left = bone & (np.arange(row.shape[1]) < np.median(i))[None]
    middle = np.rint(np.argwhere(left).mean(axis=0)).astype(int)

    assert bone.sum() > 20
    assert row[middle[0], middle[1]] < 150
    assert j.max() - j.min() < row.shape[0]


def test_a_head_is_closed_by_bone_and_has_no_neck():
    ct = make_no_spine("head", 2)
    middle = ct.hu[len(ct.hu) // 2]
    center = np.array(middle.shape) // 2

    along = middle[center[0]]

    assert (along[: center[1]] > 600).any()
    assert (along[center[1] :] > 600).any()
    assert abs(float(np.median(middle[center[0] - 5 : center[0] + 5, center[1] - 5 : center[1] + 5])) - 30.0) < 40.0


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="head, legs"):
        make_no_spine("elephant", 0)
