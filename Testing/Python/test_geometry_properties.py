"""What holds of geometry for every volume and every canal: maps have inverses, axes are right-handed, order is nothing.

Examples are drawn by hypothesis, always the same ones (``conftest``).
"""

from __future__ import annotations

import numpy as np
import pytest
from cpr_samples import SMALL_GRID, a_line
from hypothesis import assume, given
from hypothesis import strategies as st
from volume_samples import a_matrix, grid_points_ras, hu_at

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import VIRTUAL_SAGITTAL, ReformatFrame, lay_frame, straighten
from VertebralFractureLib.cpr.frame import STRAIGHTENED
from VertebralFractureLib.volume import CTVolume, ct_from_sitk, ct_to_sitk

KINDS = st.sampled_from([STRAIGHTENED, VIRTUAL_SAGITTAL])
SHAPE_KJI = (40, 36, 34)
SPACING_MM = (2.0, 2.5, 3.0)


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


@st.composite
def rotations(draw: st.DrawFn) -> np.ndarray:
    """Any orthonormal axes, left-handed ones as well."""
    entries = draw(st.lists(reals(-1.0, 1.0), min_size=9, max_size=9))
    matrix = np.reshape(entries, (3, 3))
    assume(np.linalg.svd(matrix, compute_uv=False).min() > 0.05)
    return np.linalg.qr(matrix)[0]


@st.composite
def volumes(draw: st.DrawFn) -> CTVolume:
    """A grid anywhere, in any orientation, with a shear like that of a tilted gantry."""
    axes = draw(rotations())
    spacing = [draw(reals(0.3, 5.0)) for _ in range(3)]
    matrix = a_matrix(axes, spacing, (5, 6, 7))
    matrix[:3, 2] += draw(reals(-0.4, 0.4)) * spacing[2] * axes[:, 1]
    return CTVolume(np.zeros((5, 6, 7), dtype=np.int16), matrix)


@st.composite
def canals(draw: st.DrawFn) -> Centerline:
    """A smooth curve that rises, with kyphosis, lordosis and scoliosis of any common size."""
    z = np.arange(0.0, draw(reals(60.0, 400.0)), 5.0)
    r = draw(reals(-15.0, 15.0)) * np.sin(2.0 * np.pi * z / 300.0 + draw(reals(0.0, 6.0))) + draw(reals(-40.0, 40.0))
    a = draw(reals(-35.0, 35.0)) * np.sin(2.0 * np.pi * z / 380.0 + draw(reals(0.0, 6.0))) + draw(reals(-40.0, 40.0))
    return a_line(np.stack([r, a, z + draw(reals(-500.0, 500.0))], axis=1))


def points_near(frame: ReformatFrame, seed: int) -> np.ndarray:
    """Where vertebrae lie: (r, a, s) to the sides, in front of and behind the canal, also beyond both ends."""
    low, high = frame.range_mm
    return np.random.default_rng(seed).uniform((-30.0, -30.0, low - 20.0), (30.0, 45.0, high + 20.0), (50, 3))


@given(ct=volumes(), seed=st.integers(0, 999))
def test_an_index_that_goes_to_the_patient_comes_back(ct: CTVolume, seed: int) -> None:
    indices = np.random.default_rng(seed).uniform(-5.0, 10.0, (20, 3))

    assert ct.ras_to_ijk_points(ct.ijk_to_ras_points(indices)) == pytest.approx(indices, abs=1e-8)


@given(ct=volumes())
def test_a_volume_keeps_its_geometry_through_simpleitk(ct: CTVolume) -> None:
    assert ct_from_sitk(ct_to_sitk(ct)).ijk_to_ras == pytest.approx(ct.ijk_to_ras, abs=1e-9)


@given(canal=canals(), kind=KINDS, seed=st.integers(0, 999))
def test_a_point_that_is_straightened_comes_back_to_its_place_in_the_patient(
    canal: Centerline, kind: str, seed: int
) -> None:
    frame = lay_frame(canal, kind)
    straight = points_near(frame, seed)

    back = frame.ras_to_straight(frame.straight_to_ras(straight))

    assert np.abs(frame.straight_to_ras(back) - frame.straight_to_ras(straight)).max() < 1e-4
    assert np.abs(back - straight).max() < 1e-3


@given(canal=canals(), kind=KINDS)
def test_reformat_planes_are_right_handed_and_the_patients_right_stays_right(canal: Centerline, kind: str) -> None:
    frame = lay_frame(canal, kind)

    axes = np.stack([frame.right_ras, frame.anterior_ras, frame.normal_ras], axis=2)
    assert np.swapaxes(axes, 1, 2) @ axes == pytest.approx(np.broadcast_to(np.eye(3), axes.shape), abs=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1.0, abs=1e-9)
    assert (frame.right_ras[:, 0] > 0.0).all()
    assert (frame.normal_ras[:, 2] > 0.0).all()


@given(canal=canals(), shift=st.tuples(*[reals(-300.0, 300.0)] * 3), kind=KINDS)
def test_a_patient_who_lies_elsewhere_is_straightened_the_same(
    canal: Centerline, shift: tuple[float, float, float], kind: str
) -> None:
    moved = Centerline(canal.points_ras + np.array(shift), canal.confidence)

    frame, elsewhere = lay_frame(canal, kind), lay_frame(moved, kind)

    count = min(len(frame.s_mm), len(elsewhere.s_mm))  # A length of whole millimeters can fall to either side.
    assert abs(len(frame.s_mm) - len(elsewhere.s_mm)) <= 1
    # The smoothing at the ends reaches over 32 rows and sees where the table ends.
    inner = slice(0, max(count - 33, 1))
    assert elsewhere.origin_ras[inner] - frame.origin_ras[inner] == pytest.approx(
        np.broadcast_to(shift, frame.origin_ras[inner].shape), abs=1e-6
    )
    assert elsewhere.right_ras[inner] == pytest.approx(frame.right_ras[inner], abs=1e-6)


@given(order=st.permutations(range(3)), signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
def test_the_order_in_which_voxels_are_stored_changes_nothing(
    order: list[int], signs: tuple[float, float, float]
) -> None:
    axes = np.eye(3)[:, order] * np.array(signs)
    shape = tuple(SHAPE_KJI[::-1][axis] for axis in order)[::-1]
    matrix = a_matrix(axes, [SPACING_MM[axis] for axis in order], shape)
    ct = CTVolume(hu_at(grid_points_ras(shape, matrix)), matrix)
    canal = a_line([(1.0 + 0.1 * s, -4.0, s) for s in np.arange(-30.0, 40.0, 5.0)])

    spine = straighten(ct, canal, grid=SMALL_GRID)

    k, j, i = np.nonzero(spine.inside)
    straight = np.array(spine.origin_mm) + np.stack([i, j, k], axis=1) * np.array(spine.spacing_mm)
    places = spine.frame.straight_to_ras(straight)
    index = ct.ras_to_ijk_points(places)
    # Towards the border the ramp has no neighbors to be interpolated from.
    inner = ((index > 2.0) & (index < np.array(ct.hu.shape[::-1]) - 3.0)).all(axis=1)
    assert inner.sum() > 10000
    assert np.abs(spine.hu[k, j, i] - hu_at(places))[inner].max() <= 1.5
