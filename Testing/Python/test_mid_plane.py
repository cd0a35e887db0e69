"""Each vertebra's own mid-sagittal plane, on an axial section drawn here and on scoliotic phantoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame, straighten
from VertebralFractureLib.research.phantom import Phantom, make_phantom, random_options
from VertebralFractureLib.thresholds import MID_PLANE
from VertebralFractureLib.vertebrae import localize_vertebrae
from VertebralFractureLib.vertebrae.mid_plane import MidPlane, find_mid_plane


def a_turned_vertebra(offset_mm: float, turn_deg: float, *, aorta: bool = False) -> StraightenedVolume:
    """A body, two pedicles and a spinous process, turned about s; with contrast in the aorta beside it or not."""
    centerline = Centerline(np.column_stack([np.zeros(9), np.zeros(9), 5.0 * np.arange(9)]), np.ones(9))
    r, a = np.meshgrid(np.arange(-64.0, 65.0), np.arange(-48.0, 65.0))
    turn = np.radians(turn_deg)
    across = np.cos(turn) * (r - offset_mm) - np.sin(turn) * (a - MID_PLANE.pivot_mm)
    along = np.sin(turn) * (r - offset_mm) + np.cos(turn) * (a - MID_PLANE.pivot_mm)
    body = (across / 17.0) ** 2 + (along / 13.0) ** 2 < 1.0
    pedicles = (np.abs(np.abs(across) - 12.0) < 3.5) & (np.abs(along + 18.0) < 9.0)
    process = (np.abs(across) < 3.0) & (along < -30.0)
    section = np.where(body | pedicles | process, 350.0, 30.0)
    if aorta:
        section[(r + 26.0) ** 2 + (a - 38.0) ** 2 < 100.0] = 450.0
    hu = np.repeat(section[None], 41, axis=0).astype(np.float32)
    frame = lay_frame(centerline)
    return StraightenedVolume(hu, np.ones(hu.shape, dtype=np.bool_), (-64.0, -48.0, 0.0), (1.0, 1.0, 1.0), frame)


@pytest.mark.parametrize("aorta", [False, True])
@pytest.mark.parametrize(("offset", "turn"), [(0.0, 0.0), (3.0, -12.0), (-5.0, 16.0)])
def test_a_turned_vertebra_is_mirrored_about_its_own_plane(offset: float, turn: float, aorta: bool) -> None:
    plane = find_mid_plane(a_turned_vertebra(offset, turn, aorta=aorta), [(10.0, 30.0, 35.0)])

    assert plane.offset_mm[0] == pytest.approx(offset, abs=1.0)
    assert np.degrees(plane.turn_rad[0]) == pytest.approx(turn, abs=2.5)


def test_points_of_a_plane_lie_where_its_turn_puts_them() -> None:
    tuned = MID_PLANE
    plane = MidPlane(np.array([0.0, 10.0]), np.array([2.0, 4.0]), np.radians([0.0, 90.0]))

    beside = plane.straight(np.array(1.0), np.array(tuned.pivot_mm), np.array(0.0))
    ahead = plane.straight(np.array(0.0), np.array(tuned.pivot_mm + 5.0), np.array(10.0))

    np.testing.assert_allclose(beside, [3.0, tuned.pivot_mm, 0.0])
    np.testing.assert_allclose(ahead, [9.0, tuned.pivot_mm, 10.0], atol=1e-9)


@pytest.fixture(scope="module")
def a_scoliotic_phantom() -> Phantom:
    options = random_options(12, field_of_view="spine", spacing_mm=(1.2, 1.2, 1.5), fractures=0)
    options = replace(options, scoliosis_deg=38.0, schmorl_nodes=0, screw_levels=(), cement_levels=(), contrast="none")
    return make_phantom(replace(options, caudal_level="L4", cranial_level="T7"))


def test_landmarks_of_a_scoliotic_spine_lie_on_the_vertebras_plane_and_not_on_the_canals(
    a_scoliotic_phantom: Phantom,
) -> None:
    spine = straighten(a_scoliotic_phantom.ct, a_scoliotic_phantom.reference.centerline)

    found = [v for v in localize_vertebrae(spine) if v.landmarks_ras is not None]

    own, canal = [], []
    for true in a_scoliotic_phantom.reference.vertebrae:
        near = [v for v in found if np.linalg.norm(np.subtract(v.center_ras, true.center_ras)) < 6.0]
        if len(near) == 1 and true.landmarks_ras is not None and near[0].landmarks_ras is not None:
            points = spine.frame.ras_to_straight(np.array(true.landmarks_ras))[[0, 3], 0]
            own.extend(np.abs(points - spine.frame.ras_to_straight(np.array(near[0].landmarks_ras))[[0, 3], 0]))
            canal.extend(np.abs(points))
    assert len(own) >= 8
    assert np.mean(canal) > 1.5, "the phantom is turned enough to tell the two apart"
    assert np.mean(own) < 0.5 * np.mean(canal)
