"""How sure a height is, the box around a body, and the bone inside it, on bodies that are drawn here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report_samples import a_reported_vertebra

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame
from VertebralFractureLib.result.bone_density import bone_density
from VertebralFractureLib.thresholds import MID_PLANE
from VertebralFractureLib.vertebrae.endplates import BodyShape
from VertebralFractureLib.vertebrae.grading import grade_column, grade_heights
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.vertebrae.oriented_box import oriented_box
from VertebralFractureLib.vertebrae.sequence_search import Span
from VertebralFractureLib.vertebrae.trabecular import TrabecularRegion, assign_trabecular_hu, measure_trabecular_region
from VertebralFractureLib.vertebrae.uncertainty import estimate_height_sd
from VertebralFractureLib.vertebrae.vertebra import Heights, OrientedBox, Reason, Vertebra
from VertebralFractureLib.volume import CTVolume, with_acquisition

WIDTH, DEPTH, HEIGHT = 40.0, 30.0, 24.0
TRABECULAR_HU = 130.0


def a_block(
    turn_deg: float = 0.0, tilt: float = 0.0, rib_hu: float | None = None
) -> tuple[StraightenedVolume, LocalizedBody]:
    """A body with a cortex, turned about s and with endplates that rise by ``tilt`` per mm; ribs beside it or not."""
    tuned = MID_PLANE
    line = Centerline(np.column_stack([np.zeros(9), np.zeros(9), 8.0 * np.arange(9)]), np.ones(9))
    s, a, r = np.meshgrid(np.arange(65.0), np.arange(-48.0, 65.0), np.arange(-64.0, 65.0), indexing="ij")
    turn = np.radians(turn_deg)
    across = np.cos(turn) * r - np.sin(turn) * (a - tuned.pivot_mm)
    along = np.sin(turn) * r + np.cos(turn) * (a - tuned.pivot_mm)
    out = np.maximum.reduce(
        [np.abs(across) - 0.5 * WIDTH, np.abs(along) - 0.5 * DEPTH, np.abs(s - 32.0 - tilt * along) - 0.5 * HEIGHT]
    )
    hu = np.where(out < -2.0, TRABECULAR_HU, np.where(out < 0.0, 400.0, 40.0))
    if rib_hu is not None:
        hu[(np.abs(across) > 0.5 * WIDTH + 3.0) & (np.abs(along) < 5.0)] = rib_hu
    volume = StraightenedVolume(
        hu.astype(np.float32),
        np.ones(hu.shape, dtype=np.bool_),
        (-64.0, -48.0, 0.0),
        (1.0, 1.0, 1.0),
        lay_frame(line),
    )
    front, back = tuned.pivot_mm + 0.5 * DEPTH, tuned.pivot_mm - 0.5 * DEPTH
    lean = tilt * 0.5 * HEIGHT
    places = np.array([front - 3.5, tuned.pivot_mm, back + 3.0])
    landmarks = [
        (at, 32.0 + side * 0.5 * HEIGHT + tilt * (at - tuned.pivot_mm))
        for side, ats in ((1.0, places - lean), (-1.0, places + lean))
        for at in ats
    ]
    plane = MidPlane(np.array([32.0]), np.array([0.0]), np.array([turn]))
    span = Span(32.0 - 0.5 * HEIGHT, 32.0 + 0.5 * HEIGHT, 1.0)
    return volume, LocalizedBody(span, tuned.pivot_mm, BodyShape(back, front, np.array(landmarks)), True, plane)


@pytest.mark.parametrize(("turn", "tilt"), [(0.0, 0.0), (14.0, 0.0), (-10.0, 0.2)])
@pytest.mark.parametrize("rib_hu", [None, 300.0])
def test_the_box_has_the_bodys_size_and_is_turned_as_it_is(turn: float, tilt: float, rib_hu: float | None) -> None:
    box = oriented_box(*a_block(turn, tilt, rib_hu))

    assert isinstance(box, OrientedBox)
    axes = np.array(box.axes_ras)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    right, anterior = axes[0], axes[1]
    assert np.degrees(np.arctan2(-right[1], right[0])) == pytest.approx(turn, abs=1.0)
    assert anterior[2] / np.hypot(anterior[0], anterior[1]) == pytest.approx(tilt, abs=0.03)
    assert box.size_mm[0] == pytest.approx(WIDTH, abs=1.5)
    assert box.size_mm[1] == pytest.approx(DEPTH, abs=1.5 + 30.0 * tilt)
    assert box.size_mm[2] == pytest.approx(HEIGHT, abs=1.0)
    middle = np.array(box.corner_ras) + 0.5 * np.array(box.size_mm) @ axes
    assert middle == pytest.approx((0.0, MID_PLANE.pivot_mm, 32.0), abs=1.0)


def test_a_body_that_was_not_traced_has_no_box_and_no_core() -> None:
    volume, body = a_block()
    untraced = replace(body, shape=None)

    assert oriented_box(volume, untraced) is None
    assert measure_trabecular_region(volume, untraced).mean_hu is None


def test_the_core_lies_on_the_bodys_own_plane_and_clear_of_the_cortex() -> None:
    core = measure_trabecular_region(*a_block(turn_deg=14.0))

    assert core.mean_hu == pytest.approx(TRABECULAR_HU)
    assert (core.noise_hu, core.metal_fraction, core.dense_fraction) == (0.0, 0.0, 0.0)


def test_noise_is_told_apart_from_a_slope_across_the_body() -> None:
    volume, body = a_block()
    noise = np.random.default_rng(5).normal(0.0, 30.0, volume.hu.shape)
    slope = 2.0 * volume.axis_mm("r")

    core = measure_trabecular_region(replace(volume, hu=(volume.hu + noise + slope).astype(np.float32)), body)

    assert core.noise_hu == pytest.approx(30.0, rel=0.08)
    assert core.mean_hu == pytest.approx(TRABECULAR_HU, abs=2.0)


def a_vertebra(**known: object) -> Vertebra:
    plain = Vertebra(
        center_ras=(0.0, 22.0, 12.0),
        extent_mm=(0.0, 24.0),
        complete=True,
        detection_confidence=1.0,
        level="L1",
        grade=0,
    )
    return replace(plain, **known)


def a_core(mean: float = 130.0, metal: float = 0.0, dense: float = 0.0) -> TrabecularRegion:
    return TrabecularRegion(mean, 20.0, metal, dense)


@pytest.mark.parametrize(
    ("vertebra", "core", "reason"),
    [
        (a_vertebra(), a_core(), None),
        (a_vertebra(height_loss=0.3, height_loss_sd=0.05), a_core(), Reason.FRACTURED),
        (a_vertebra(height_loss=0.3, height_loss_sd=0.2), a_core(), None),
        (a_vertebra(), a_core(metal=0.2), Reason.AS_DENSE_AS_CEMENT),
        (a_vertebra(reason=Reason.METAL_OR_CEMENT), a_core(metal=0.2), Reason.METAL_OR_CEMENT),
        (a_vertebra(complete=False), a_core(), Reason.TRUNCATED),
        (a_vertebra(), replace(a_core(), mean_hu=None), Reason.NOT_TRACED),
        (a_vertebra(reason=Reason.LOW_CONFIDENCE), a_core(), Reason.LOW_CONFIDENCE),
        (a_vertebra(level="C7", grade=None, reason=Reason.LEVEL_NOT_SCORED), a_core(mean=230.0), None),
        (a_vertebra(), a_core(dense=0.14), Reason.DEGENERATED),
        (a_vertebra(), a_core(mean=230.0), Reason.DEGENERATED),
    ],
)
def test_only_sound_trabecular_bone_has_hu_and_the_rest_says_why(
    vertebra: Vertebra, core: TrabecularRegion, reason: Reason | None
) -> None:
    column = [a_vertebra(), a_vertebra(), vertebra, a_vertebra()]

    shown = assign_trabecular_hu(column, [a_core(125.0), a_core(140.0), core, a_core(135.0)])

    assert shown[2].trabecular_reason == reason
    assert shown[2].trabecular_hu == (core.mean_hu if reason is None else None)
    assert [v.trabecular_hu for v in (*shown[:2], shown[3])] == [125.0, 140.0, 135.0]


@pytest.mark.parametrize(("slice_mm", "noise", "expected"), [(1.25, 30, 0.31), (3.0, 30, 0.52), (4.0, 30, 0.80)])
def test_a_height_is_as_unsure_as_measured_on_phantoms(slice_mm: float, noise: float, expected: float) -> None:
    assert estimate_height_sd(slice_mm, noise) == pytest.approx(expected, rel=0.15)


def test_thicker_slices_and_more_noise_make_a_height_less_sure() -> None:
    assert (
        estimate_height_sd(1.0, 20.0)
        < estimate_height_sd(2.0, 20.0)
        < estimate_height_sd(2.0, 90.0)
        < estimate_height_sd(4.0, 90.0)
    )


def test_the_band_of_the_borderline_widens_with_the_slices() -> None:
    loss = 0.20 - 0.045
    heights = Heights((1.0 - loss) * 20.0, 20.0, 20.0)

    thin, thick = (
        grade_heights(heights, None, "over_posterior", height_sd_mm=estimate_height_sd(slice_mm, 25.0))
        for slice_mm in (1.0, 3.0)
    )

    assert (thin.grade, thick.grade) == (0, 0)
    assert not thin.borderline
    assert thick.borderline
    assert thin.loss_sd == pytest.approx(0.26 / 20.0 * np.hypot(1.0, 1.0 - loss), rel=0.05)
    assert grade_heights(heights, None, "over_posterior").loss_sd is None


def test_a_column_takes_the_uncertainty_of_each_vertebra() -> None:
    same = Heights(20.0, 20.0, 20.0)

    gradings = grade_column([same, None, same], [None] * 3, height_sds_mm=[0.3, None, 0.9])

    assert [g.loss_sd and round(g.loss_sd, 3) for g in gradings if g is not None] == [0.068, 0.091]


def some_vertebrae() -> list:
    hu = {"T12": 120.0, "L1": None, "L2": 110.0}
    return [a_reported_vertebra(level, 10.0, 8.0, trabecular_hu=value) for level, value in hu.items()]


def test_the_bone_of_the_scan_is_that_of_l1_or_the_nearest_and_says_what_is_not_known() -> None:
    density = bone_density(some_vertebrae(), {})

    assert density is not None
    assert (density.level, density.hu, density.hu_at_120_kv) == ("T12", 120.0, None)
    assert "tube voltage is not known" in density.note
    assert "contrast medium was given is not known" in density.note


def test_tube_voltage_and_contrast_are_taken_into_account_where_the_scan_names_them() -> None:
    vertebrae = [*some_vertebrae(), a_reported_vertebra("L1", 30.0, 8.0, trabecular_hu=100.0)]

    density = bone_density(vertebrae, {"kvp": "100", "contrast_agent": "yes"})

    assert density is not None
    assert (density.level, density.contrast, density.tube_voltage_kv) == ("L1", True, 100.0)
    assert density.hu_at_120_kv == pytest.approx(92.7)
    assert density.note == (
        "Not calibrated. Contrast medium was given, which adds 15 (portal) to 20 HU (arterial); the phase is not known."
    )


def test_a_scan_without_sound_bone_near_l1_has_no_density() -> None:
    assert bone_density([a_reported_vertebra("T4", 10.0, 8.0, trabecular_hu=150.0)], {"kvp": "120"}) is None


def test_facts_that_come_beside_a_file_are_kept_and_nothing_else() -> None:
    ct = CTVolume(np.zeros((4, 4, 4), dtype=np.int16), np.eye(4), source={"format": "nrrd"})

    told = with_acquisition(ct, {"kvp": 120, "contrast_agent": "no", "kernel": "", "patient_name": "Doe"})

    assert told.source == {"format": "nrrd", "kvp": "120", "contrast_agent": "no"}
    assert with_acquisition(ct, None).source == ct.source


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_resolution_along_the_patient_does_not_depend_on_the_storage_order(order: tuple[int, int, int]) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([0.7, -0.8, 2.5])[:, order]

    assert CTVolume(np.zeros((4, 4, 4), dtype=np.int16), matrix).resolution_along_patient_mm == pytest.approx(2.5)
