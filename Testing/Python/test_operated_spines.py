"""Operations drawn onto a CT, and what is said of bodies whose end is not the scan's."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.research.simulation.operated_spines import OPERATIONS
from VertebralFractureLib.volume import CTVolume


def a_scan() -> tuple[CTVolume, Centerline]:
    """Bone everywhere, so that every operation leaves a trace: 1.5 x 1.5 x 3 mm, 240 mm high."""
    hu = np.full((80, 90, 90), 200, dtype=np.int16)
    matrix = np.diag([1.5, 1.5, 3.0, 1.0])
    matrix[:3, 3] = (-67.0, -67.0, 0.0)
    s = np.linspace(2.0, 236.0, 40)
    return CTVolume(hu, matrix), Centerline(np.stack([0.0 * s, 0.0 * s, s], axis=1), np.ones(40))


@pytest.mark.parametrize("name", ["screws and rods", "rods and hooks", "cages in three discs"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_metal_is_denser_than_bone_and_a_plausible_amount(name: str, seed: int) -> None:
    ct, line = a_scan()

    changed = OPERATIONS[name](ct, line, np.random.default_rng(seed))

    volume_mm3 = np.count_nonzero(changed.hu > 1500) * float(np.prod(ct.spacing_mm))
    assert 1_000.0 < volume_mm3 < 60_000.0
    assert np.array_equal(changed.ijk_to_ras, ct.ijk_to_ras)
    assert changed.hu.max() <= 3071


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cement_lies_in_front_of_the_canal(seed: int) -> None:
    ct, line = a_scan()

    changed = OPERATIONS["cement in two bodies"](ct, line, np.random.default_rng(seed))

    _, rows, _ = np.nonzero(changed.hu > 700)
    anterior = -67.0 + 1.5 * rows
    assert len(rows) > 50
    assert 8.0 < anterior.mean() < 32.0


@pytest.mark.parametrize(("name", "is_in_front"), [("a body destroyed", True), ("arches taken", False)])
def test_lost_bone_becomes_soft_tissue_at_its_place_only(name: str, is_in_front: bool) -> None:
    ct, line = a_scan()

    changed = OPERATIONS[name](ct, line, np.random.default_rng(3))

    lost = changed.hu < 120
    assert 0.001 < lost.mean() < 0.1
    assert (np.nonzero(lost)[1].mean() > 45) == is_in_front
    assert abs(float(changed.hu[lost].mean()) - 50.0) < 3.0


def test_the_same_seed_draws_the_same_operation() -> None:
    ct, line = a_scan()

    first, second = (OPERATIONS["rods and hooks"](ct, line, np.random.default_rng(5)) for _ in range(2))

    np.testing.assert_array_equal(first.hu, second.hu)


def test_points_are_in_a_scan_up_to_the_outer_faces_of_its_voxels() -> None:
    ct, _ = a_scan()

    inside = ct.contains_points(np.array([[0.0, 0.0, 100.0], [0.0, 0.0, -1.4], [0.0, 0.0, -1.6], [70.0, 0.0, 50.0]]))

    assert inside.tolist() == [True, True, False, False]
