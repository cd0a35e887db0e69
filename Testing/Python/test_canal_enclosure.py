"""Does the centerline run in a canal: bone all around soft tissue, whatever the network believes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame
from VertebralFractureLib.cpr.canal_enclosure import weigh_enclosure

LENGTH = 160


def a_canal(center: tuple[float, float] = (0.0, 0.0), content: float = 40.0, bone: float = 250.0) -> StraightenedVolume:
    """Rings of bone of 9 mm around ``center`` (r, a), open for 8 of every 26 mm, with bodies in front, in muscle."""
    line = Centerline(np.array([[0.0, 0.0, s] for s in np.linspace(0.0, LENGTH, 20)]), np.ones(20))
    r, a = np.meshgrid(np.arange(129) - 64.0, np.arange(113) - 48.0)
    away = np.hypot(r - center[0], a - center[1])
    hu = np.full((LENGTH, 113, 129), 50.0, dtype=np.float32)
    body = (np.abs(r - center[0]) < 18) & (a - center[1] > 8) & (a - center[1] < 36)
    ring = (away > 9) & (away < 14)
    lateral = np.abs(a - center[1]) < 6
    for row in range(LENGTH):
        hu[row][body] = bone
        hu[row][ring & ~(lateral & (row % 26 < 8))] = bone
        hu[row][away <= 9] = content
    hu += np.random.default_rng(1).normal(0.0, 15.0, hu.shape).astype(np.float32)
    return StraightenedVolume(
        hu, np.ones(hu.shape, dtype=np.bool_), (-64.0, -48.0, 0.0), (1.0, 1.0, 1.0), lay_frame(line)
    )


@pytest.mark.parametrize("content", [0.0, 40.0, 120.0, 450.0])
def test_a_canal_with_its_foramina_is_trusted_with_any_contrast_medium(content: float) -> None:
    assert weigh_enclosure(a_canal(content=content, bone=700.0)).min() > 0.9


def test_a_curve_a_few_mm_off_the_middle_is_trusted() -> None:
    assert weigh_enclosure(a_canal(center=(3.0, -3.0))).min() > 0.9


@pytest.mark.parametrize("center", [(22.0, 0.0), (-22.0, 0.0), (0.0, 22.0), (0.0, -22.0), (16.0, 16.0)])
def test_a_curve_beside_the_canal_is_not_trusted(center: tuple[float, float]) -> None:
    assert weigh_enclosure(a_canal(center=center)).max() < 0.5


def test_a_curve_in_lung_or_air_is_not_trusted() -> None:
    spine = a_canal()

    assert weigh_enclosure(replace(spine, hu=np.full_like(spine.hu, -850.0))).max() < 0.1


def test_a_curve_between_two_rods_is_not_trusted() -> None:
    spine = a_canal(center=(0.0, 40.0))
    hu = spine.hu.copy()
    hu[:, 44:52, 52:56] = 3071.0
    hu[:, 44:52, 72:76] = 3071.0

    assert weigh_enclosure(replace(spine, hu=hu)).max() < 0.5


def test_only_the_stretch_that_left_the_canal_loses_trust() -> None:
    away, spine = a_canal(center=(22.0, 0.0)), a_canal()
    hu = spine.hu.copy()
    hu[:60] = away.hu[:60]

    weight = weigh_enclosure(replace(spine, hu=hu))

    assert weight[:40].max() < 0.5
    assert weight[80:].min() > 0.9


def test_what_the_field_of_view_does_not_show_is_not_held_against_the_curve() -> None:
    spine = a_canal()
    inside = spine.inside.copy()
    inside[:20] = False

    assert weigh_enclosure(replace(spine, inside=inside, hu=np.where(inside, spine.hu, -1024.0))).min() > 0.9
