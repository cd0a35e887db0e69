"""All 48 orders of the axes: told truly they change nothing; told falsely they are corrected, doubted or refused."""

from __future__ import annotations

from collections import Counter

import numpy as np

from VertebralFractureLib.research.evaluation.storage_orders import (
    Position,
    count_true_orders,
    decide_order,
    judge_axes,
    list_orders,
    name_order,
)


def seen(head_up: float, clear: float = 30.0, beside: float = 0.0) -> dict:
    """What is measured of a spine that is seen where its front is, and faintly with the front to another side."""
    counts = {name_order(order): clear if order[1, 1] == 1.0 else beside for order in list_orders()}
    upright = {name_order(order): abs(order[2, 2]) == 1.0 for order in list_orders()}
    return {
        "length_mm": 200.0,
        "along": {key: count for key, count in counts.items() if upright[key]},
        "everywhere": {key: count if upright[key] else 0.0 for key, count in counts.items()},
        "head_up": head_up,
    }


def test_every_order_that_the_file_tells_truly_is_read_as_the_same_voxels_in_the_same_places(a_phantom_file):
    counted = count_true_orders([a_phantom_file])

    assert set(counted.values()) == {48}


def test_under_an_affine_that_lies_a_clear_spine_is_corrected_and_said():
    """Given a spine whose front and head are clear, when its affine is exchanged and flipped in all 48 ways, then the
    true one and its mirror image stand as filed, and all others are corrected.
    """
    decided = Counter(decide_order(seen(head_up=3.0), wrong) for wrong in list_orders())

    assert decided == {Position.AS_FILED: 2, Position.CORRECTED: 46}


def test_a_spine_that_hardly_shows_how_it_lies_is_never_wrong_without_a_word():
    for faint in (seen(head_up=0.5), seen(head_up=3.0, beside=20.0), seen(head_up=3.0, clear=1.0)):
        decided = Counter(decide_order(faint, wrong) for wrong in list_orders())

        assert decided[Position.IN_DOUBT] + decided[Position.REFUSED] == 48


def test_axes_are_judged_by_front_and_head_alone():
    mirrored = np.diag([-1.0, 1.0, 1.0])
    prone = np.diag([-1.0, -1.0, 1.0])

    assert judge_axes(np.eye(3), mirrored, in_doubt=False) == Position.AS_FILED
    assert judge_axes(prone, prone, in_doubt=False) == Position.CORRECTED
    assert judge_axes(np.eye(3), prone, in_doubt=False) == Position.SILENT_WRONG
    assert judge_axes(prone, np.eye(3), in_doubt=False) == Position.WRONG_AND_SAID
