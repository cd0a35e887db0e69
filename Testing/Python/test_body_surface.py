"""The surface of a vertebral body: what is measured on it, where it comes from, and the truth that teaches it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame, straighten
from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.phantom import make_phantom, random_options
from VertebralFractureLib.research.simulation.fracture_shapes import random_fracture
from VertebralFractureLib.research.simulation.simulate_fracture import simulate, simulate_field
from VertebralFractureLib.research.training.surface_truth import fit_surface, phantom_bodies
from VertebralFractureLib.vertebrae.body_surface import BodySurface, block_of
from VertebralFractureLib.vertebrae.endplates import BodyShape
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.vertebrae.sequence_search import Span
from VertebralFractureLib.vertebrae.surface_input import SHAPE, block_axes_mm, hint_of_extent
from VertebralFractureLib.vertebrae.surface_network import SurfaceModel, SurfaceNetwork
from VertebralFractureLib.vertebrae.surfacing import surface_bodies

DEPTH, WIDTH, HEIGHT = 30.0, 40.0, 24.0


def a_surface(tilt: float = 0.0, dent_mm: float = 0.0) -> BodySurface:
    """A box that leans as a whole by ``tilt`` mm/mm, its upper endplate dented at mid depth, around (24, 100)."""
    s, a, r = np.meshgrid(*block_axes_mm(), indexing="ij")
    long = np.hypot(1.0, tilt)
    along, up = (a + tilt * s) / long, (s - tilt * a) / long
    dent = dent_mm * np.clip(1.0 - np.abs(along) / (0.5 * DEPTH), 0.0, 1.0)
    plates = np.maximum(up - 0.5 * HEIGHT + dent, -0.5 * HEIGHT - up)
    distance = np.maximum.reduce([np.abs(along) - 0.5 * DEPTH, np.abs(r) - 0.5 * WIDTH, plates])
    block = block_of(MidPlane.of_canal(), 24.0, (100.0 - 0.5 * HEIGHT, 100.0 + 0.5 * HEIGHT))
    return BodySurface(block, distance.astype(np.float32), np.full(SHAPE, 0.3, dtype=np.float32))


@pytest.mark.parametrize("tilt", [0.0, -0.35, 0.35])
def test_heights_of_a_leaning_body_are_read_between_its_endplates_below_the_size_of_a_voxel(tilt):
    measures = a_surface(tilt).measure()

    assert measures is not None
    heights = np.linalg.norm(measures.shape.landmarks[:3] - measures.shape.landmarks[3:], axis=1)
    assert heights == pytest.approx(HEIGHT, abs=0.4)


def test_walls_and_endplates_are_read_below_the_size_of_a_voxel():
    measures = a_surface().measure()

    assert measures is not None
    assert (measures.shape.a_posterior, measures.shape.a_anterior) == pytest.approx((24.0 - 15.0, 24.0 + 15.0), abs=0.1)
    assert measures.lateral_mm == pytest.approx((-20.0, 20.0), abs=0.1)
    assert measures.extent_mm == pytest.approx((88.0, 112.0), abs=0.1)


def test_a_dented_endplate_lowers_the_middle_height_alone():
    whole, dented = a_surface().measure(), a_surface(dent_mm=9.0).measure()

    assert whole is not None
    assert dented is not None
    lost = whole.shape.landmarks[:3, 1] - dented.shape.landmarks[:3, 1]
    assert lost[1] == pytest.approx(9.0, abs=0.6)
    assert max(lost[0], lost[2]) < 3.0


@pytest.mark.parametrize(("scale_mm", "is_unsure"), [(0.5, False), (1.2, True)])
def test_heights_between_endplates_that_are_hard_to_see_are_told_as_unsure(scale_mm, is_unsure):
    surface = replace(a_surface(), scale_mm=np.full(SHAPE, scale_mm, dtype=np.float32))

    measures = surface.measure()

    assert measures is not None
    assert measures.is_unsure == is_unsure
    assert measures.height_sd_mm == pytest.approx(2.0 * scale_mm, rel=0.01)


@pytest.mark.parametrize(("wall", "blurred"), [("front", slice(35, None)), ("back", slice(None, 20))])
def test_a_wall_that_is_hard_to_see_is_told_by_itself(wall, blurred):
    whole = a_surface()
    scale = np.array(whole.scale_mm)
    scale[:, blurred] = 1.0

    clear, doubtful = whole.measure(), replace(whole, scale_mm=scale).measure()

    assert clear is not None
    assert doubtful is not None
    assert not clear.has_unsure_wall
    assert doubtful.has_unsure_wall
    assert not doubtful.is_unsure
    assert (doubtful.front_scale_mm > 0.9) == (wall == "front")


def test_the_outline_runs_along_the_zero_of_the_distance():
    surface = a_surface(tilt=0.1, dent_mm=6.0)

    outline = surface.outline((24.0, 98.0))

    assert outline is not None
    points = np.stack([np.zeros(len(outline)), *outline.T], axis=-1)
    assert len(outline) == 72
    assert np.abs(surface.sample(points)).max() < 0.6


def test_points_beyond_the_block_are_far_outside_the_body():
    surface = a_surface()

    found = surface.sample(np.array([[0.0, 24.0, 100.0], [0.0, 24.0, 400.0], [80.0, 24.0, 100.0]]))

    assert found[0] == pytest.approx(-12.0, abs=0.6)
    assert found[1:].min() > 50.0


def test_a_block_whose_middle_is_in_no_body_gives_no_measures():
    surface = a_surface()

    outside = replace(surface, distance_mm=np.abs(surface.distance_mm) + 1.0)

    assert outside.measure() is None


def _soft_tissue(r, a, s):
    return np.full_like(r + a + s, 40.0)


def a_spine(hu_of=_soft_tissue) -> StraightenedVolume:
    """A straight spine of 140 mm whose HU are a function of (r, a, s)."""
    line = Centerline(np.column_stack([np.zeros(15), np.zeros(15), 10.0 * np.arange(15)]), np.ones(15))
    s, a, r = np.meshgrid(np.arange(141.0), np.arange(-48.0, 65.0), np.arange(-64.0, 65.0), indexing="ij")
    hu = hu_of(r, a, s).astype(np.float32)
    return StraightenedVolume(hu, np.ones(hu.shape, dtype=bool), (-64.0, -48.0, 0.0), (1.0, 1.0, 1.0), lay_frame(line))


def a_body(low: float = 60.0, high: float = 84.0) -> LocalizedBody:
    at = np.array([36.0, 24.0, 12.0])
    landmarks = np.concatenate([np.stack([at, np.full(3, high)], 1), np.stack([at, np.full(3, low)], 1)])
    return LocalizedBody(
        Span(low, high, 0.9), 24.0, BodyShape(9.0, 39.0, landmarks), complete=True, plane=MidPlane.of_canal()
    )


class _Saying(torch.nn.Module):
    """Stands for a network that says the same distance everywhere, whatever it sees."""

    def __init__(self, distance_mm: float) -> None:
        super().__init__()
        self.distance_mm = torch.nn.Parameter(torch.tensor(distance_mm))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        distance = self.distance_mm.expand(len(x), 1, *SHAPE)
        return torch.cat([distance, torch.ones_like(distance)], dim=1)


@pytest.mark.parametrize("distance_mm", [3.0, -3.0], ids=["no body anywhere", "body everywhere"])
def test_a_body_without_a_believable_surface_keeps_its_outline(distance_mm):
    body = a_body()

    found = surface_bodies(a_spine(), [body], SurfaceModel(_Saying(distance_mm)))

    assert found == [body]
    assert found[0].surface is None


def test_a_cut_body_is_not_looked_at():
    body = replace(a_body(), complete=False)

    assert surface_bodies(a_spine(), [body], SurfaceModel(_Saying(-3.0))) == [body]


def test_the_network_answers_with_a_distance_and_a_positive_scale_on_the_block():
    torch.manual_seed(0)
    network = SurfaceNetwork(width=8).eval()

    with torch.inference_mode():
        answer = network(torch.randn(1, 2, *SHAPE))

    assert answer.shape == (1, 2, *SHAPE)
    assert bool((answer[:, 1] > 0.0).all())


def test_the_hint_marks_the_localized_extent():
    hint = hint_of_extent(20.0)
    s = block_axes_mm()[0]

    assert bool((hint[np.abs(s) < 6.0] == 1.0).all())
    assert bool((hint[np.abs(s) > 14.0] == -1.0).all())


BOX = BodyBox(s_inf=58.0, s_sup=82.0, a_post=9.0, a_ant=39.0, r_left=-20.0, r_right=20.0)


def _box_distance(r, a, s):
    return np.maximum.reduce([np.abs(a - 24.0) - 15.0, np.abs(r) - 20.0, np.abs(s - 70.0) - 12.0])


def test_a_body_is_fitted_where_bone_ends_between_the_points_that_the_reader_gave():
    # A body of 24 mm in soft tissue whose upper endplate is 3 mm lower in front than the reader's point at mid depth.
    def hu(r, a, s):
        slope = 0.1 * np.clip(a - 24.0, 0.0, 15.0) * 2.0
        return np.where(np.maximum(_box_distance(r, a, s), s - (82.0 - slope)) <= 0.0, 300.0, 40.0)

    surface = fit_surface(a_spine(hu), BOX, a_body(58.0, 82.0))

    assert surface is not None
    front = surface.distance(np.array([[0.0, 34.0, 82.0 - 2.0], [0.0, 24.0, 82.0], [0.0, 34.0, 58.0]]))
    assert front == pytest.approx([0.0, 0.0, 0.0], abs=0.8)
    wall = surface.distance(np.array([[20.0, 24.0, 70.0], [0.0, 39.0, 70.0], [0.0, 9.0, 70.0]]))
    assert wall == pytest.approx([0.0, 0.0, 0.0], abs=0.8)


def test_a_field_moves_with_the_tissue_of_a_fracture():
    spine = a_spine(lambda r, a, s: np.where(_box_distance(r, a, s) <= 0.0, 300.0, 40.0))
    s, a, r = np.meshgrid(*(spine.axis_mm(axis) for axis in "sar"), indexing="ij")
    deformation = random_fracture(BOX, 3, "biconcave", np.random.default_rng(4))

    made = simulate(spine.hu, spine.inside, spine.origin_mm, [BOX], [deformation], np.random.default_rng(7))
    moved = simulate_field(_box_distance(r, a, s), spine.origin_mm, [BOX], deformation, np.random.default_rng(7))

    low, high = made.middle_mm[0]
    column = moved[:, round(24.0 + 48.0), 64]
    inside = spine.axis_mm("s")[column < 0.0]
    assert (inside.min(), inside.max()) == pytest.approx((low, high), abs=1.2)
    assert high - low < 16.0


def test_a_phantoms_bodies_are_where_its_labels_are():
    options = random_options(1, field_of_view="spine", spacing_mm=(1.5, 1.5, 1.5), fractures=1)
    options = replace(options, caudal_level="L3", cranial_level="T11", screw_levels=(), cement_levels=())
    phantom = make_phantom(options)
    spine = straighten(phantom.ct, phantom.reference.centerline)

    bodies = phantom_bodies(options, spine.frame)

    whole = next(v for v in phantom.reference.vertebrae if v.complete and v.level == "L1")
    points = spine.frame.ras_to_straight(np.array(whole.landmarks_ras))
    assert np.abs(bodies["L1"](points)).max() < 0.4
    center = spine.frame.ras_to_straight(np.array([whole.center_ras]))
    assert bodies["L1"](center)[0] < -1.0
    assert bodies["L2"](center)[0] > 1.0
