"""How the fracture network's training data is made and how its figures are counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bone_stack_samples import BOXES, ORIGIN, a_stack_of_blocks
from sklearn.metrics import roc_auc_score
from study_samples import correct_grade

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cli.main import main
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame
from VertebralFractureLib.fracture.network import FractureNetwork, NetworkOptions
from VertebralFractureLib.fracture.patches import SAGITTAL, STRAIGHTENED, PatchGrid, measure_kyphotic_angle
from VertebralFractureLib.research.datasets import BodyBox, ReferenceSpine, ReferenceVertebra, reference_to_json
from VertebralFractureLib.research.datasets.reference_set import fold_of_scan
from VertebralFractureLib.research.datasets.straight_case import StraightCase, write_case
from VertebralFractureLib.research.evaluation import evaluate_fracture
from VertebralFractureLib.research.evaluation.metrics import (
    auc,
    calibration_error,
    calibration_error_by_chance,
    fit_platt_line,
)
from VertebralFractureLib.research.phantom import make_phantom
from VertebralFractureLib.research.phantom.options import PhantomOptions
from VertebralFractureLib.research.simulation.fracture_shapes import (
    BICONCAVE,
    CRUSH,
    WEDGE,
    Deformation,
    random_fracture,
    random_mimic,
)
from VertebralFractureLib.research.simulation.simulate_fracture import simulate
from VertebralFractureLib.research.training import fracture_data, train_fracture
from VertebralFractureLib.research.training.fracture_data import (
    LabeledVertebra,
    SeriesOptions,
    bent_frame,
    make_series,
    position_labels,
    simulated,
)
from VertebralFractureLib.research.training.fracture_series import SeriesStore, build_series
from VertebralFractureLib.research.training.train_fracture import loss_of
from VertebralFractureLib.volume import write_volume
from VertebralFractureLib.weights import load_weights, weights_names

GRIDS = {
    "straight": PatchGrid(STRAIGHTENED, (12, 12, 8), (3.0, 4.0, 4.0), -14.0, (1, 1, 1)),
    "sagittal": PatchGrid(SAGITTAL, (12, 12, 5), (3.0, 4.0, 5.0), -14.0, (1, 1, 1)),
}


def heights_mm(hu: np.ndarray, box: BodyBox, share: float, near_mm: float) -> float:
    """Height of the bone in the column at ``share`` of the body's depth, around arc length ``near_mm``."""
    a = round(box.a_post + share * (box.a_ant - box.a_post) - ORIGIN[1])
    column = hu[:, a, round(-ORIGIN[0])]
    start = round(near_mm - ORIGIN[2])
    low = high = start
    while column[low - 1] > 150.0:
        low -= 1
    while column[high + 1] > 150.0:
        high += 1
    edge_low = (column[low] - 150.0) / (column[low] - column[low - 1])
    edge_high = (column[high] - 150.0) / (column[high] - column[high + 1])
    return float(high - low + edge_low + edge_high)


def a_case(grade: int = 0) -> StraightCase:
    hu, inside = a_stack_of_blocks()
    points = np.stack([np.zeros(25), np.zeros(25), np.linspace(0.0, 120.0, 25)], axis=1)
    line = Centerline(points, np.ones(25))
    vertebrae = tuple(
        ReferenceVertebra(f"T{12 - n}", True, (0.0, 23.0, 20.0 + 26.0 * n), box, (20.0, 20.0, 20.0), grade, None)
        for n, box in enumerate(BOXES)
    )
    volume = StraightenedVolume(hu, inside, ORIGIN, (1.0, 1.0, 1.0), lay_frame(line))
    return StraightCase("blocks", 0, False, True, volume, ReferenceSpine("blocks", line, vertebrae), None, (1, 1, 1))


@pytest.mark.parametrize(
    ("shape", "lost"),
    [(WEDGE, (0.0, None, 0.40)), (BICONCAVE, (0.0, 0.40, None)), (CRUSH, (0.34, None, 0.40))],
)
def test_a_simulated_fracture_loses_height_where_its_shape_says(
    shape: str, lost: tuple[float, float | None, float | None]
) -> None:
    hu, inside = a_stack_of_blocks()
    box = BOXES[1]

    result = simulate(hu, inside, ORIGIN, BOXES, [Deformation(box, shape, 0.40)], np.random.default_rng(0))

    for share, loss in zip((0.0, 0.5, 0.95), lost, strict=True):
        if loss is not None:
            assert heights_mm(result.hu, box, share, 42.0) == pytest.approx(21.0 * (1.0 - loss), abs=1.6)


def test_the_truth_that_comes_back_is_what_was_drawn() -> None:
    hu, inside = a_stack_of_blocks()
    rng = np.random.default_rng(1)

    for shape in (WEDGE, BICONCAVE, CRUSH):
        result = simulate(hu, inside, ORIGIN, BOXES, [random_fracture(BOXES[1], 3, shape, rng)], rng)
        low, high = result.middle_mm[1]
        assert heights_mm(result.hu, BOXES[1], 0.5, 0.5 * (low + high)) == pytest.approx(high - low + 1.0, abs=1.2)
        assert high - low == pytest.approx(20.0 * result.height_factors[1][1], abs=1e-6)


@pytest.mark.parametrize(
    ("deformation", "grade", "shape"),
    [
        (Deformation(BOXES[1], CRUSH, 0.22, concavity=0.1), 2, "crush"),
        (Deformation(BOXES[1], WEDGE, 0.45), 3, "wedge"),
        (Deformation(BOXES[1], WEDGE, 0.10), None, None),
    ],
)
def test_the_grade_of_a_simulated_fracture_is_that_of_the_heights_it_left(deformation, grade, shape) -> None:
    case = a_case()

    spine = simulated(case, {1: deformation}, {1: 1}, case.volume, np.random.default_rng(0))

    broken = spine.vertebrae[1]
    assert (broken.grade, broken.shape, broken.simulated) == (grade, shape, "fracture")
    assert [one.grade for one in spine.vertebrae if one is not broken] == [0, 0, 0]


def test_a_wedge_that_bends_the_spine_takes_from_its_back_wall_too() -> None:
    case = a_case()
    plain, bent = (Deformation(BOXES[1], WEDGE, 0.4, bend_share=share) for share in (0.0, 0.5))

    straight, kyphotic = (
        simulated(case, {1: one}, {1: 3}, case.volume, np.random.default_rng(0)).vertebrae[1] for one in (plain, bent)
    )

    assert kyphotic.heights_mm[2] < straight.heights_mm[2] - 0.5  # type: ignore[operator]


def test_neighbors_keep_their_height_while_the_stack_sinks() -> None:
    hu, inside = a_stack_of_blocks()

    result = simulate(hu, inside, ORIGIN, BOXES, [Deformation(BOXES[1], CRUSH, 0.5)], np.random.default_rng(2))

    for n in (0, 2, 3):
        middle = 0.5 * sum(result.middle_mm[n])
        assert heights_mm(result.hu, BOXES[n], 0.5, middle) == pytest.approx(21.0, abs=0.6)
    assert result.middle_mm[3][1] == pytest.approx(BOXES[3].s_sup - 0.85 * 10.0, abs=1.0)


def test_what_lies_far_from_the_body_is_not_touched_by_a_wedge() -> None:
    hu, inside = a_stack_of_blocks()
    hu += np.random.default_rng(3).normal(0.0, 30.0, hu.shape).astype(np.float32)

    result = simulate(hu, inside, ORIGIN, BOXES, [Deformation(BOXES[1], WEDGE, 0.5)], np.random.default_rng(3))

    assert np.abs(result.hu[:18] - hu[:18]).max() < 0.1
    assert np.abs(result.hu[:, :10] - hu[:, :10]).max() < 0.1


def test_a_mimic_never_loses_a_fracture_s_height() -> None:
    rng = np.random.default_rng(4)

    mimics = [random_mimic(BOXES[0], rng) for _ in range(200)]

    assert max(mimic.loss for mimic in mimics) <= 0.10
    assert any(mimic.loss < -0.15 for mimic in mimics)
    assert any(mimic.loss == 0.0 and not mimic.dents for mimic in mimics)
    assert any(mimic.dents for mimic in mimics)
    assert any(mimic.band_hu > 100.0 for mimic in mimics)


def test_a_frame_can_be_bent_where_a_wedge_bends_it() -> None:
    frame = a_case().volume.frame

    bent = bent_frame(frame, [(60.0, 0.3)])

    angles = measure_kyphotic_angle(bent, np.array([20.0, 60.0, 100.0]))
    assert angles == pytest.approx([0.0, 0.3, 0.0], abs=0.02)
    assert np.allclose(np.linalg.norm(np.diff(bent.origin_ras, axis=0), axis=1), 1.0, atol=0.01)


def test_positions_take_the_grade_of_their_body_and_doubtful_ones_do_not_count() -> None:
    vertebrae = [
        LabeledVertebra(0.0, 20.0, 0, (20.0, 20.0, 20.0)),
        LabeledVertebra(25.0, 45.0, 2, (12.0, None, 20.0)),
        LabeledVertebra(50.0, 70.0, None, (None, None, None)),
    ]

    grade, weight, heights, known = position_labels(vertebrae, np.array([10.0, 22.0, 30.0, 60.0, 100.0]))

    assert list(grade) == [0.0, 0.0, 2.0, 0.0, 0.0]
    assert list(weight) == [1.0, 0.0, 1.0, 0.0, 0.4]
    assert heights[2, 0] == pytest.approx(0.6)
    assert list(known[2]) == [1.0, 0.0, 1.0]


def test_windows_see_the_ends_of_a_spine_a_third_as_often_as_its_middle() -> None:
    frame_positions = np.arange(60.0)
    rng = np.random.default_rng(7)
    seen = np.zeros(60)

    for _ in range(2000):
        window = fracture_data.window(frame_positions, 22, rng)
        assert len(window) == 22
        seen[window.astype(int)] += 1

    assert seen.min() > 0.3 * seen.max()


def test_series_of_one_scan_differ_but_each_is_repeatable(tmp_path: Path) -> None:
    options = SeriesOptions(length=10)

    files = build_series(tmp_path, [a_case()], GRIDS, options, 4)
    store = SeriesStore.load(files, "straight")
    again = make_series(a_case(), GRIDS, options, 5)

    assert len(files) == round(4 * np.sqrt(0.4))
    assert not np.array_equal(store.patches(0), store.patches(1))
    assert np.array_equal(again["patches-straight"], make_series(a_case(), GRIDS, options, 5)["patches-straight"])


def test_a_network_learns_from_series(tmp_path: Path) -> None:
    files = build_series(tmp_path, [a_case()], GRIDS, SeriesOptions(length=10, fracture_share=1.0), 5)
    store = SeriesStore.load(files, "sagittal")
    torch.manual_seed(0)
    network = FractureNetwork(NetworkOptions(2, (12, 12, 5), (4, 8, 8), 16))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []

    for step in range(15):
        loss = loss_of(network, store.batch(2, step), torch.device("cpu"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))

    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_auc_counts_pairs() -> None:
    scores, truth = np.array([0.1, 0.4, 0.35, 0.8, 0.4]), np.array([False, False, True, True, True])

    assert auc(scores, truth) == pytest.approx((1.0 + 2.0 + 0.0 + 1.5) / 6.0)
    assert np.isnan(auc(scores, np.zeros(5, dtype=bool)))


def test_auc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    for digits in (1, 2, 8):
        scores, truth = np.round(rng.random(200), digits), rng.random(200) < 0.2
        assert auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))


def test_platt_s_line_repairs_an_overconfident_model() -> None:
    rng = np.random.default_rng(5)
    honest = rng.normal(0.0, 2.0, 4000)
    truth = rng.random(4000) < 1.0 / (1.0 + np.exp(-honest))
    overconfident = 3.0 * honest + 2.0

    slope, offset = fit_platt_line(overconfident, truth)

    assert slope == pytest.approx(1.0 / 3.0, abs=0.03)
    assert offset == pytest.approx(-2.0 / 3.0, abs=0.1)
    before = calibration_error(1.0 / (1.0 + np.exp(-overconfident)), truth)
    after = calibration_error(1.0 / (1.0 + np.exp(-slope * overconfident - offset)), truth)
    assert after < 0.03 < before


def test_a_calibration_error_is_held_against_what_chance_alone_makes_of_it() -> None:
    rng = np.random.default_rng(6)
    few, many = rng.random(150), rng.random(15000)

    for probability in (few, many):
        honest = calibration_error(probability, rng.random(len(probability)) < probability)
        assert honest == pytest.approx(calibration_error_by_chance(probability), rel=0.6)

    assert calibration_error_by_chance(few) > 0.05 > 0.01 > calibration_error_by_chance(many)


@pytest.mark.slow
def test_one_command_leads_from_annotated_scans_to_a_calibrated_ensemble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = [name for fold in range(3) for name in _names_of_fold(fold)]
    (tmp_path / "scans").mkdir()
    for index, name in enumerate(scans):
        options = PhantomOptions(
            index, field_of_view="spine", caudal_level="L4", cranial_level="T11", spacing_mm=(2.0, 2.0, 2.5)
        )
        phantom = make_phantom(options)
        if index == 0:  # one of the scans stands for the phantom that would be drawn, finer and longer
            write_case(tmp_path / "cache" / "phantom" / "phantom-0", phantom.ct, phantom.reference, phantom.body_labels)
        write_volume(phantom.ct, tmp_path / "scans" / f"{name}.nii.gz")
        (tmp_path / "scans" / f"{name}.json").write_text(json.dumps(reference_to_json(phantom.reference)))
    command = ["train", "ensemble", "--data", str(tmp_path / "scans"), "--cache", str(tmp_path / "cache")]
    command += ["--out", str(tmp_path / "out"), "--members", "25d-sagittal", "--seeds", "1", "--phantoms", "1"]
    command += ["--validation-phantoms", "0", "--steps", "2", "--series-per-scan", "2", "--series-per-phantom", "1"]
    command += ["--variants", "1"]

    first = main(command)
    with monkeypatch.context() as patch:
        patch.setattr(train_fracture, "train", lambda *_, **__: pytest.fail("trained again what was trained already"))
        patch.setattr(evaluate_fracture, "run", lambda _: 0)  # its figures are there
        again = main(command)

    assert (first, again) == (0, 0)
    weights = load_weights("fracture-25d-sagittal", tmp_path / "out" / "weights")
    slope, _ = weights.config["calibration"]["vertebra"]
    assert slope != 1.0
    assert weights.config["training"]["scans"] == sorted(scans)
    first = load_weights("fracture-25d-sagittal", tmp_path / "out" / "first")
    assert (first.config["training"]["scans"], first.config["training"]["phantoms"]) == ([], 1)
    assert weights.config["training"]["started_from"] == first.sha256
    assert set(weights_names("", tmp_path / "out" / "weights")) >= {"cord", "levels", "vertebrae"}
    left_out = load_weights("fracture-25d-sagittal", tmp_path / "out" / "folds" / "fold1")
    assert left_out.config["training"]["scans"] == sorted(set(scans) - set(_names_of_fold(1)))
    assert left_out.config["calibration"]["vertebra"] not in ([1.0, 0.0], weights.config["calibration"]["vertebra"])
    figures = json.loads((tmp_path / "out" / "figures.json").read_text(encoding="utf-8"))
    assert figures["figures"]["real, cross-validated"]["25d-sagittal"]["fractured_scans"] == 3
    card = (tmp_path / "out" / "weights" / "VertebralFracture-fracture-25d-sagittal.md").read_text(encoding="utf-8")
    assert weights.sha256 in card
    assert "first learned from phantoms alone (2 steps), then from everything (2 steps), from\nseed 0." in card
    assert all(scan in card for scan in scans)
    # A grade that a reader corrected reaches the weights of everyone who trained on it, and of nobody else.
    correct_grade(tmp_path / "scans" / f"{scans[1]}.json", "L2", 3)
    trained = []
    with monkeypatch.context() as patch:
        real = train_fracture.train
        patch.setattr(train_fracture, "train", lambda *words, **more: trained.append(words[4]) or real(*words, **more))
        assert main(command) == 0
    assert [path.parent.name for path in trained] == [f"25d-sagittal-{stage}" for stage in ("fold0", "fold2", "final")]


def _names_of_fold(fold: int) -> list[str]:
    """One user's scan, by name, that belongs to the fold."""
    return [next(f"p{n}_scan" for n in range(50) if fold_of_scan(f"p{n}_scan") == fold)]
