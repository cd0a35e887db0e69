"""Training data of the vertebra models and their figures, on a block spine whose truth is plain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame
from VertebralFractureLib.research.datasets import BodyBox, ReferenceSpine, ReferenceVertebra
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.evaluation.evaluate_vertebrae import compare, summarize
from VertebralFractureLib.research.training.straightened_cases import (
    RESERVED_SEEDS_FROM,
    load_or_build_cases,
    training_cases,
)
from VertebralFractureLib.vertebrae.vertebra import Heights, Vertebra

torch = pytest.importorskip("torch")

LEVELS = ("L3", "L2", "L1", "T12", "T11", "T10")
HEIGHT, PITCH, FIRST = 22.0, 28.0, 10.0


def a_block_spine(
    identifier: str = "block", *, fold: int | None = 0, may_train: bool = True, is_phantom: bool = False
) -> StraightCase:
    """Six bodies of 600 HU in soft tissue around a straight canal; straight space equals RAS, shifted by 12 mm in s."""
    centerline = Centerline(np.column_stack([np.zeros(38), np.zeros(38), 5.0 * np.arange(38)]), np.ones(38))
    frame = lay_frame(centerline)
    hu = np.full((209, 113, 129), 40, dtype=np.int16)
    s = -12.0 + np.arange(209)
    vertebrae = []
    for number, level in enumerate(LEVELS):
        low = FIRST + PITCH * number
        high = low + HEIGHT
        hu[(s >= low) & (s <= high), 48 + 8 : 48 + 37, 64 - 18 : 64 + 19] = 600
        points = tuple((0.0, a, at) for at in (high, low) for a in (32.5, 22.0, 11.0))
        vertebrae.append(
            ReferenceVertebra(
                level,
                True,
                (0.0, 22.0, 0.5 * (low + high)),
                BodyBox(low, high, 8.0, 36.0, -18.0, 18.0),
                (HEIGHT, HEIGHT, HEIGHT),
                0,
                None,
                landmarks_ras=points if is_phantom else None,
            )
        )
    reference = ReferenceSpine(identifier, centerline, tuple(vertebrae))
    volume = StraightenedVolume(hu, np.ones(hu.shape, dtype=np.bool_), (-64.0, -48.0, -12.0), (1.0, 1.0, 1.0), frame)
    return StraightCase(identifier, fold, is_phantom, may_train, volume, reference, None, (1.0, 1.0, 1.0))


def what_a_perfect_reader_finds(case: StraightCase, *, shift: int = 0) -> list[Vertebra]:
    names = ["L4", *LEVELS, "T9"]
    found = []
    for number, vertebra in enumerate(case.reference.vertebrae):
        box, level = vertebra.box, names[number + 1 + shift]
        assert box is not None
        found.append(
            Vertebra(
                center_ras=vertebra.center_ras,
                extent_mm=(box.s_inf, box.s_sup),
                complete=True,
                detection_confidence=0.9,
                level=level,
                grade=0,
                morphometric_grade=0,
                heights_mm=Heights(HEIGHT, HEIGHT - 1.0, HEIGHT),
            )
        )
    return found


@pytest.mark.parametrize("is_phantom", [False, True])
def test_targets_lie_on_the_bodies_after_every_bend(is_phantom: bool) -> None:
    from VertebralFractureLib.research.training.vertebra_batches import sample_crop
    from VertebralFractureLib.research.training.vertebra_targets import body_targets

    case = a_block_spine(is_phantom=is_phantom)
    targets = body_targets(case)

    for seed in range(4):
        picture, target, weight = sample_crop(case, targets, np.random.default_rng(seed))
        known = weight[0] > 0.5
        body = target[0] > 0.9
        bright = picture[3] > 0.7
        assert bool((known & body).any())
        assert float(bright[known & body].float().mean()) > 0.97
        assert float(bright[known & (target[0] < 0.05)].float().mean()) < 0.05


def test_a_readers_box_supervises_edges_at_mid_depth_only() -> None:
    from VertebralFractureLib.research.training.vertebra_targets import body_targets

    case = a_block_spine()

    targets = body_targets(case)

    row = round(FIRST + HEIGHT + 12.0)
    assert targets.value[1, row, 31 + 22] == pytest.approx(1.0)
    assert targets.weight[1, row, 31 + 22] == 1.0
    assert targets.weight[1, row, 31 + 12] == 0.0


def test_level_batches_put_every_name_on_its_cell() -> None:
    from VertebralFractureLib.research.training.level_batches import UNKNOWN, LevelBatches
    from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES, REGIONS, region_of_level

    case = a_block_spine(is_phantom=True)
    batches = LevelBatches([case], batch_size=6)

    for seed in range(4):
        picture, _, classes, regions = batches(seed)
        assert picture.shape[2] == 6 * classes.shape[1]
        for sample, names, own in zip(picture, classes, regions, strict=True):
            known = names != UNKNOWN
            numbers = names[known]
            assert torch.equal(numbers, numbers[0] - torch.arange(len(numbers))), "caudal to cranial, one by one"
            assert {LEVEL_CLASSES[int(number)] for number in numbers} <= set(LEVELS)
            told = known & (own != UNKNOWN)
            looks = [REGIONS[int(number)] for number in own[told]]
            assert looks == [region_of_level(LEVEL_CLASSES[int(number)]) for number in names[told]]
            bone = sample[1].reshape(len(names), 6, 28, 32)[known][1:-1].amax(dim=(2, 3))
            assert bool((bone[:, 2:4] > 1.0).all()), "the middle of every cell that is not cut lies in its body"


def test_every_stretch_holds_a_named_vertebra_also_where_few_are_named() -> None:
    from VertebralFractureLib.research.training.level_batches import UNKNOWN, LevelBatches

    case = a_block_spine(is_phantom=True)
    sparse = tuple(replace(v, level="T10" if v.level == "T10" else None) for v in case.reference.vertebrae)
    batches = LevelBatches([replace(case, reference=replace(case.reference, vertebrae=sparse))], batch_size=6)

    for seed in range(4):
        classes = batches(seed)[2]
        assert bool((classes != UNKNOWN).any(dim=1).all())


def test_a_real_scan_is_named_on_the_bodies_that_the_network_finds_or_on_the_readers() -> None:
    from VertebralFractureLib.research.training.level_batches import named_column
    from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES

    column = named_column(a_block_spine())

    assert [LEVEL_CLASSES[number] for number in column.classes] == list(LEVELS)
    middles = column.extents_mm.mean(axis=1)
    np.testing.assert_allclose(middles, FIRST + 0.5 * HEIGHT + PITCH * np.arange(6), atol=10.0)


def test_the_run_of_names_is_judged_against_its_shifts() -> None:
    from VertebralFractureLib.research.training.train_levels import run_scores
    from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES

    classes = torch.tensor([LEVEL_CLASSES.index(level) for level in ("L1", "T12", "T11")])
    log_p = torch.full((3, len(LEVEL_CLASSES)), -4.0)
    log_p[torch.arange(3), classes] = -0.1

    scores, true = run_scores(log_p, classes)

    assert len(scores) == len(LEVEL_CLASSES) - 2, "every place where three levels in a row fit"
    assert int(scores.argmax()) == true
    assert float(scores[true]) == pytest.approx(-0.3)


def test_the_fold_that_is_left_out_and_the_scans_that_only_evaluate_never_train() -> None:
    cases = [
        a_block_spine("fold0", fold=0),
        a_block_spine("fold1", fold=1),
        a_block_spine("only-evaluates", fold=None, may_train=False),
        a_block_spine("phantom-3", fold=None, is_phantom=True),
    ]

    assert [case.identifier for case in training_cases(cases, 0)] == ["fold1", "phantom-3"]
    assert [case.identifier for case in training_cases(cases, None)] == ["fold0", "fold1", "phantom-3"]


def test_seeds_of_the_final_test_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reserved"):
        load_or_build_cases(tmp_path, None, [3, RESERVED_SEEDS_FROM])


def test_perfect_vertebrae_give_perfect_figures_and_their_height_error() -> None:
    case = a_block_spine()

    figures = summarize([compare(case, what_a_perfect_reader_finds(case))])

    assert (figures.recall, figures.precision) == (1.0, 1.0)
    assert figures.scans_levels_right == 1
    assert figures.height_bias_mm == pytest.approx({"anterior": 0.0, "middle": -1.0, "posterior": 0.0})
    assert (figures.graded_healthy, figures.false_alarms) == (6, 0)


def test_a_missed_a_doubled_and_a_misnamed_vertebra_are_counted() -> None:
    case = a_block_spine()
    found = what_a_perfect_reader_finds(case, shift=1)
    extra = Vertebra(
        center_ras=(20.0, 22.0, 63.5), extent_mm=(61.0, 66.0), complete=True, detection_confidence=0.4, level="L1"
    )

    figures = summarize([compare(case, [*found[:2], extra, *found[3:]])])

    assert figures.recall == pytest.approx(5 / 6)
    assert figures.precision == pytest.approx(5 / 6)
    assert (figures.scans_levels_right, figures.scans_levels_shifted) == (0, 1)


@pytest.mark.parametrize("shape", ["wedge", "biconcave", "crush"])
def test_the_truth_of_a_simulated_collapse_lies_on_the_bone_that_is_left(shape: str) -> None:
    from VertebralFractureLib.research.simulation.collapsed_cases import with_fractures
    from VertebralFractureLib.research.training.vertebra_targets import body_targets

    case = a_block_spine()
    collapsed = with_fractures(case, {2: (3, shape)}, np.random.default_rng(4))
    targets = body_targets(collapsed)
    before, after = case.reference.vertebrae[2], collapsed.reference.vertebrae[2]
    assert before.box is not None
    assert after.box is not None
    height = after.box.s_sup - after.box.s_inf
    assert height < 0.85 * HEIGHT
    assert after.grade == 3

    picture = np.asarray(collapsed.volume.hu)[:, 48 - 31 : 48 + 65, 24].astype(float)
    strip = slice(31 + 20, 31 + 25)
    known, body = targets.weight[0][:, strip] > 0.5, targets.value[0][:, strip]
    assert picture[:, strip][known & (body > 0.95)].min() > 250.0
    assert np.mean(picture[:, strip][known & (body < 0.05)] < 200.0) > 0.9


def test_collapses_are_the_same_for_the_same_seed_and_spare_most_of_the_column() -> None:
    from VertebralFractureLib.research.simulation.collapsed_cases import with_collapses

    case = a_block_spine()

    one, again, other = (with_collapses(case, seed) for seed in (0, 0, 1))

    np.testing.assert_array_equal(one.volume.hu, again.volume.hu)
    assert not np.array_equal(one.volume.hu, other.volume.hu)
    assert one.volume.hu.shape[2] < case.volume.hu.shape[2]
    assert any((v.grade or 0) > 0 for v in [*one.reference.vertebrae, *other.reference.vertebrae])


def test_a_collapsed_vertebra_counts_as_found_only_where_its_own_body_is() -> None:
    from VertebralFractureLib.research.evaluation.evaluate_collapses import collapsed_in_turn, judge
    from VertebralFractureLib.vertebrae.localization import LocalizedBody
    from VertebralFractureLib.vertebrae.mid_plane import MidPlane
    from VertebralFractureLib.vertebrae.sequence_search import Span

    index, shape, collapsed = next(collapsed_in_turn(a_block_spine()))
    box, above = (collapsed.reference.vertebrae[at].box for at in (index, index + 1))
    assert box is not None
    assert above is not None

    def body(low: float, high: float) -> LocalizedBody:
        return LocalizedBody(Span(low, high, 0.9), 22.0, None, True, MidPlane.of_canal())

    own = judge(collapsed, index, shape, [body(box.s_inf + 1.0, box.s_sup), body(above.s_inf, above.s_sup)])
    merged = judge(collapsed, index, shape, [body(box.s_inf, above.s_sup)])
    lost = judge(collapsed, index, shape, [body(above.s_inf, above.s_sup)])

    assert (own.found, own.endplates_found) == (True, True)
    assert not merged.endplates_found
    assert not lost.found
