"""Finding and measuring bodies on maps drawn here, pooling of scores, and the whole step on a phantom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.cpr import StraightenedVolume, straighten
from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.fracture import FractureSequence, score_vertebrae
from VertebralFractureLib.fracture.grade_posterior import compute_posterior
from VertebralFractureLib.fracture.pooling import logit, sigmoid
from VertebralFractureLib.research.phantom import make_phantom, random_options
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae import localize_vertebrae
from VertebralFractureLib.vertebrae.endplates import BodyShape, list_column_positions, measure_shape
from VertebralFractureLib.vertebrae.localization import LocalizedBody, drop_shallow_shapes
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.vertebrae.sequence_search import Profiles, Span, search_spans
from VertebralFractureLib.vertebrae.vertebra import Reason, Vertebra


def a_column(edges: list[tuple[float, float]], length: int = 200, faint: tuple[int, ...] = ()) -> Profiles:
    """Profiles of bodies between the given edges; the upper edge of those in ``faint`` and the next lower one fade."""
    s = np.arange(length, dtype=np.float64)
    body, upper, lower = np.full(length, 0.02), np.full(length, 0.01), np.full(length, 0.01)
    for number, (below, above) in enumerate(edges):
        body[(s >= below) & (s <= above)] = 0.97
        upper += (0.3 if number in faint else 0.85) * np.exp(-0.5 * ((s - above) / 1.3) ** 2)
        lower += (0.3 if number - 1 in faint else 0.85) * np.exp(-0.5 * ((s - below) / 1.3) ** 2)
    for number in faint:
        body[(s >= edges[number][1]) & (s <= edges[number + 1][0])] = 0.9
    inside = np.ones(length, dtype=np.bool_)
    return Profiles(s, body, upper.clip(0, 1), lower.clip(0, 1), inside)


def limits(spans: list[Span]) -> list[tuple[float, float]]:
    return [(span.s_inferior_mm, span.s_superior_mm) for span in spans]


def test_a_regular_column_is_found_from_bottom_to_top() -> None:
    edges = [(20.0, 44.0), (52.0, 75.0), (82.0, 104.0), (110.0, 131.0)]

    spans = search_spans(a_column(edges))

    assert limits(spans) == edges
    assert not any(span.cut for span in spans)
    assert min(span.confidence for span in spans) > 0.8


def test_a_collapsed_vertebra_survives_among_tall_ones() -> None:
    edges = [(10.0, 36.0), (44.0, 70.0), (77.0, 87.0), (94.0, 120.0), (128.0, 154.0)]

    assert limits(search_spans(a_column(edges))) == edges


def test_a_fused_disc_with_faint_endplates_does_not_join_two_bodies() -> None:
    edges = [(10.0, 30.0), (34.0, 54.0), (57.0, 77.0), (81.0, 101.0), (105.0, 125.0)]

    np.testing.assert_allclose(limits(search_spans(a_column(edges, faint=(2,)))), edges, atol=1.0)


def test_a_vertebra_that_the_field_of_view_cuts_is_found_and_marked() -> None:
    profiles = a_column([(20.0, 44.0), (52.0, 75.0), (82.0, 104.0), (110.0, 131.0)], length=120)

    spans = search_spans(profiles)

    assert [span.cut for span in spans] == [False, False, False, True]


def test_noise_without_a_spine_gives_no_vertebra() -> None:
    rng = np.random.default_rng(0)
    quiet = Profiles(
        np.arange(150.0),
        rng.uniform(0.0, 0.2, 150),
        rng.uniform(0.0, 0.2, 150),
        rng.uniform(0.0, 0.2, 150),
        np.ones(150, dtype=np.bool_),
    )

    assert search_spans(quiet) == []


def test_landmarks_follow_tilted_endplates_below_the_size_of_a_pixel() -> None:
    a, s = list_column_positions(), np.arange(80, dtype=np.float64)[:, None]
    upper_s, lower_s = 50.3 + 0.15 * (a - 22.0), 26.6 + 0.15 * (a - 22.0)
    within = (a >= 8.0) & (a <= 36.0)
    body = ((s <= upper_s) & (s >= lower_s) & within).astype(np.float64)
    upper = np.exp(-0.5 * ((s - upper_s) / 1.3) ** 2) * within
    lower = np.exp(-0.5 * ((s - lower_s) / 1.3) ** 2) * within

    shape = measure_shape(np.stack([body, upper, lower]), 0.0, Span(27.0, 50.0, 1.0), 22.0)

    assert shape is not None
    assert (shape.a_posterior, shape.a_anterior) == pytest.approx((7.5, 36.5), abs=0.6)
    np.testing.assert_allclose(shape.landmarks[:3, 1], 50.3 + 0.15 * (shape.landmarks[:3, 0] - 22.0), atol=0.2)
    np.testing.assert_allclose(shape.landmarks[3:, 1], 26.6 + 0.15 * (shape.landmarks[3:, 0] - 22.0), atol=0.2)
    assert np.all(shape.landmarks[:3, 0] < shape.landmarks[3:, 0]), "the body leans back where its endplates rise"


def a_sequence(probability: FloatArray) -> FractureSequence:
    positions = 6.0 * np.arange(len(probability), dtype=np.float64)
    ones = np.ones(len(probability))
    # The ensemble's answer is that of the mean logit.
    less, more = (sigmoid(logit(probability) + shift) for shift in (-0.5, 0.5))
    apart = 0.5 * (more - less)
    return FractureSequence(positions, probability, apart, ones, {"less": less, "more": more}, 0.5)


def a_found_vertebra(below: float, above: float) -> Vertebra:
    middle = 0.5 * (below + above)
    return Vertebra(
        center_ras=(0.0, 22.0, middle),
        extent_mm=(below, above),
        complete=True,
        detection_confidence=0.9,
        level="T9",
        label="T9",
    )


def test_a_vertebra_is_scored_by_the_positions_inside_it_and_not_by_its_neighbors() -> None:
    probability = np.array([0.02, 0.02, 0.02, 0.9, 0.9, 0.9, 0.9, 0.02, 0.02, 0.02])
    vertebrae = [a_found_vertebra(0.0, 14.0), a_found_vertebra(17.0, 37.0), a_found_vertebra(41.0, 55.0)]

    sequence = a_sequence(probability)

    scored = score_vertebrae(vertebrae, sequence)

    assert [v.status for v in scored] == ["scored"] * 3
    assert [v.network_probability for v in scored] == pytest.approx([0.02, 0.9, 0.02])
    less, more = (1.0 - compute_posterior([sequence.member_probability[name][4]], None)[0] for name in ("less", "more"))
    assert scored[1].uncertainty == pytest.approx(0.5 * (more - less)), "the members' deviation at its positions"


def test_a_loss_of_height_beyond_doubt_is_shown_even_where_the_network_is_silent() -> None:
    collapsed = replace(a_found_vertebra(17.0, 37.0), height_loss=0.45)

    scored = score_vertebrae([collapsed], a_sequence(np.full(10, 0.02)))[0]

    assert scored.fracture_probability > SCORING.decision_threshold
    assert scored.grade >= 1
    assert DoubtKind.WITNESSES_DISAGREE in scored.doubts, "the two disagree, and the reader is told"


def test_a_mild_loss_of_height_is_left_to_the_network() -> None:
    mild = replace(a_found_vertebra(17.0, 37.0), height_loss=0.15)

    scored = score_vertebrae([mild], a_sequence(np.full(10, 0.3)))[0]

    assert scored.fracture_probability == pytest.approx(0.3, abs=0.15)
    assert scored.grade == 0


def test_a_vertebra_with_a_reason_is_not_evaluable_and_has_no_probability() -> None:
    cut = replace(a_found_vertebra(0.0, 20.0), complete=False, reason=Reason.TRUNCATED)

    scored = score_vertebrae([cut], a_sequence(np.full(10, 0.9)))[0]

    assert (scored.status, scored.fracture_probability) == ("not_evaluable", None)
    assert scored.reason == Reason.TRUNCATED


def test_a_vertebra_beyond_the_sequence_is_not_evaluable() -> None:
    scored = score_vertebrae([a_found_vertebra(500.0, 520.0)], a_sequence(np.full(10, 0.9)))[0]

    assert scored.status == "not_evaluable"
    assert scored.reason


def test_the_whole_step_finds_names_and_measures_the_vertebrae_of_a_phantom() -> None:
    phantom = make_phantom(random_options(6, field_of_view="spine", spacing_mm=(1.5, 1.5, 2.5), fractures=0))
    spine = straighten(phantom.ct, phantom.reference.centerline)
    truth = [v for v in phantom.reference.vertebrae if v.complete and v.level != "S1" and all(v.heights_mm)]

    found = localize_vertebrae(spine)

    whole = [v for v in found if v.complete]
    centers = np.array([v.center_ras for v in whole])
    nearest = [np.linalg.norm(centers - np.array(v.center_ras), axis=1).min() for v in truth]
    assert len(truth) >= 4
    assert np.mean(np.array(nearest) < 5.0) > 0.9
    assert [v.middle_mm for v in found] == sorted(v.middle_mm for v in found)
    assert all(v.label for v in found)
    errors = [
        abs(v.heights_mm.posterior - float(true.heights_mm[2] or 0.0))
        for true in truth
        for v in whole
        if v.heights_mm is not None and np.linalg.norm(np.subtract(v.center_ras, true.center_ras)) < 5.0
    ]
    assert np.median(errors) < 1.5


@pytest.fixture(scope="module")
def a_coarse_spine() -> StraightenedVolume:
    phantom = make_phantom(random_options(6, field_of_view="spine", spacing_mm=(1.5, 1.5, 5.0), fractures=0))
    return straighten(phantom.ct, phantom.reference.centerline)


def test_heights_in_thick_slices_are_measured_with_the_error_that_such_slices_have(
    a_coarse_spine: StraightenedVolume,
) -> None:
    thick = [v for v in localize_vertebrae(a_coarse_spine, slice_thickness_mm=5.0) if v.heights_mm is not None]
    thin = [v for v in localize_vertebrae(a_coarse_spine, slice_thickness_mm=2.5) if v.heights_mm is not None]

    assert len(thick) == len(thin) >= 4
    assert all(v.height_sd_mm > 1.0 for v in thick)
    assert all(one.height_sd_mm > 2.0 * other.height_sd_mm for one, other in zip(thick, thin, strict=True))
    assert all(one.height_loss_sd > other.height_loss_sd for one, other in zip(thick, thin, strict=True))
    assert all(v.grade is None for v in thick), "a grade follows from heights and networks together"


def bodies_as_deep_as(*depths: float | None) -> list[LocalizedBody]:
    """Whole bodies of these depths in mm, caudal to cranial; None is one that could not be traced."""
    return [
        LocalizedBody(
            Span(30.0 * at, 30.0 * at + 24.0, 0.9),
            25.0,
            None if depth is None else BodyShape(10.0, 10.0 + depth, np.zeros((6, 2))),
            True,
            MidPlane.of_canal(),
        )
        for at, depth in enumerate(depths)
    ]


def test_an_outline_traced_inside_a_body_is_not_measured_as_a_collapse() -> None:
    kept = drop_shallow_shapes(bodies_as_deep_as(11.0, 34.0, 33.0, 12.0, 31.0, None))

    assert [body.shape is not None for body in kept] == [False, True, True, False, True, False]


def test_small_bodies_keep_their_outline_at_the_top_of_the_spine_and_where_nothing_is_beside_them() -> None:
    for depths in ((23.0, 22.0, 19.0, 17.0, 15.0), (11.0, 34.0), (11.0,)):
        assert all(body.shape is not None for body in drop_shallow_shapes(bodies_as_deep_as(*depths)))
