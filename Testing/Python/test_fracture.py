"""The fracture step: patches, position code, network, ensemble."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame, straighten
from VertebralFractureLib.errors import NotEvaluable, OptionRefused
from VertebralFractureLib.fracture import FractureSequence
from VertebralFractureLib.fracture.network import FractureNetwork, NetworkOptions
from VertebralFractureLib.fracture.patches import (
    CODE_LENGTH,
    SAGITTAL,
    STRAIGHTENED,
    PatchGrid,
    encode_positions,
    lay_patch_points,
    list_patch_positions,
    measure_kyphotic_angle,
    sample_patches,
)
from VertebralFractureLib.fracture.pooling import pool_ensemble
from VertebralFractureLib.fracture.scoring import FractureEnsemble, calibrate_logits, compute_scan_logit
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import ALL_MEMBERS, DetectionOptions
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.weights import weights_folder

SMALL = {
    "straight": PatchGrid(STRAIGHTENED, (12, 12, 8), (3.0, 4.0, 4.0), -14.0, (1, 3, 3)),
    "sagittal": PatchGrid(SAGITTAL, (12, 12, 5), (3.0, 4.0, 5.0), -14.0, (1, 1, 5)),
}


def a_bent_spine(radius_mm: float = 150.0, angle_rad: float = 1.0) -> StraightenedVolume:
    """A kyphotic arc in the sagittal plane; HU is the anterior coordinate, so that a sample says where it was taken."""
    angles = np.linspace(-0.5 * angle_rad, 0.5 * angle_rad, 40)
    points = np.stack([0.0 * angles, radius_mm - radius_mm * np.cos(angles), radius_mm * np.sin(angles)], axis=1)
    frame = lay_frame(Centerline(points, np.ones(len(points))))
    count = len(frame.s_mm) + 24
    a = np.arange(-48.0, 65.0)
    hu = np.broadcast_to(a[None, :, None], (count, len(a), 81)).astype(np.float32)
    return StraightenedVolume(hu.copy(), np.ones(hu.shape, dtype=bool), (-40.0, -48.0, -12.0), (1.0, 1.0, 1.0), frame)


def a_weights_folder(folder: Path, members: tuple[str, ...] = ("straight", "sagittal")) -> Path:
    for index, name in enumerate(members):
        torch.manual_seed(index)
        grid = SMALL[name]
        options = NetworkOptions(3 if name == "straight" else 2, grid.shape, (4, 4, 8), 8)
        tensors = {key: value.numpy() for key, value in FractureNetwork(options).state_dict().items()}
        config = {
            "network": asdict(options),
            "grid": asdict(grid),
            "calibration": {line: [1.0, 0.0] for line in ("vertebra", "grade2", "grade3", "scan")},
        }
        save_weights(f"fracture-{name}", tensors, config, folder)
    return folder


def an_ensemble(folder: Path, *members: str) -> FractureEnsemble:
    return Models.load(DetectionOptions(weights_folder=folder, members=members or ALL_MEMBERS)).fractures


def test_positions_cover_the_centerline_in_order_and_6_mm_apart() -> None:
    frame = a_bent_spine().frame

    positions = list_patch_positions(frame)

    assert np.allclose(np.diff(positions), 6.0)
    assert 0.0 <= positions[0] - frame.range_mm[0] < 6.0
    assert 0.0 <= frame.range_mm[1] - positions[-1] < 6.0


def test_a_straightened_patch_follows_the_canal() -> None:
    spine = a_bent_spine()
    grid = SMALL["straight"]

    points = lay_patch_points(spine.frame, np.array([60.0]), grid)

    along, anterior, right = grid.axes_mm
    assert np.allclose(points[0, :, 3, 2, 2], 60.0 + along)
    assert np.allclose(points[0, 2, :, 2, 1], anterior)
    assert np.allclose(points[0, 2, 3, :, 0], right)


def test_a_sagittal_patch_is_rigid_in_the_patient() -> None:
    spine = a_bent_spine()
    grid = SMALL["sagittal"]

    points = lay_patch_points(spine.frame, np.array([70.0]), grid)
    ras = spine.frame.straight_to_ras(points.reshape(-1, 3).astype(np.float64)).reshape(points.shape)

    for axis, step in enumerate(grid.spacing_mm):
        lengths = np.linalg.norm(np.diff(ras, axis=axis + 1), axis=-1)
        assert np.abs(lengths - step).max() < 0.1


def test_a_patch_holds_the_density_of_where_it_was_taken_and_knows_the_field_of_view() -> None:
    spine = a_bent_spine()
    half = replace(spine, inside=spine.inside & (np.arange(spine.hu.shape[2]) < 40)[None, None, :])
    grid = SMALL["straight"]

    patches = sample_patches(half, lay_patch_points(half.frame, np.array([70.0]), grid), grid).numpy()

    _, anterior, right = grid.axes_mm
    seen = right < -2.0
    assert np.allclose(patches[0, 0, 5][:, seen], ((anterior - 150.0) / 250.0)[:, None], atol=1e-4)
    assert np.all(patches[0, 1, 5][:, seen] == 1.0)
    assert np.all(patches[0, :, :, :, right > 3.0] == 0.0)


def test_the_position_code_knows_the_bend_of_the_canal() -> None:
    spine = a_bent_spine(radius_mm=150.0)

    positions = np.array([60.0, 75.0, 90.0])

    assert np.allclose(measure_kyphotic_angle(spine.frame, positions), 28.0 / 150.0, atol=0.02)
    assert encode_positions(spine.frame, positions).shape == (3, CODE_LENGTH)


def test_the_sequence_model_lets_neighbors_speak_and_the_patchwise_variant_does_not() -> None:
    for uses_sequence in (True, False):
        torch.manual_seed(0)
        network = FractureNetwork(NetworkOptions(3, (12, 12, 8), (4, 4, 8), 8, uses_sequence)).eval()
        patches, code, valid = torch.randn(1, 9, 2, 12, 12, 8), torch.zeros(1, 9, CODE_LENGTH), torch.ones(1, 9)
        changed = patches.clone()
        changed[0, 3] += 1.0

        with torch.inference_mode():
            before, after = network(patches, code, valid)[0], network(changed, code, valid)[0]

        assert not torch.equal(before[0, 3], after[0, 3])
        assert torch.equal(before[0, 4], after[0, 4]) is not uses_sequence


def test_one_high_position_raises_the_series_and_an_invalid_one_does_not() -> None:
    network = FractureNetwork(NetworkOptions(3, (12, 12, 8), (4, 4, 8), 8))
    low = torch.full((1, 20), -6.0)
    high = low.clone()
    high[0, 7] = 5.0
    valid = torch.ones(1, 20)
    without = valid.clone()
    without[0, 7] = 0.0

    assert float(network.aggregate(high, valid).detach()) > float(network.aggregate(low, valid).detach()) + 5.0
    assert float(network.aggregate(high, without).detach()) < float(network.aggregate(low, valid).detach()) + 0.1


def test_the_series_score_outside_torch_is_the_network_s_own() -> None:
    network = FractureNetwork(NetworkOptions(3, (12, 12, 8), (4, 4, 8), 8))
    logits = torch.linspace(-5.0, 4.0, 13)[None]

    expected = float(network.aggregate(logits, torch.ones(1, 13)).detach())

    pooling = network.pooling.detach().double().numpy()
    assert compute_scan_logit(logits[0].double().numpy(), pooling) == pytest.approx(expected, abs=1e-5)


def test_the_series_loss_reaches_the_encoder() -> None:
    network = FractureNetwork(NetworkOptions(2, (12, 12, 5), (4, 4, 8), 8))

    network(torch.randn(2, 6, 2, 12, 12, 5), torch.zeros(2, 6, CODE_LENGTH), torch.ones(2, 6))[2].sum().backward()

    first = next(network.encoder.parameters())
    assert first.grad is not None
    assert float(first.grad.abs().sum()) > 0.0


@pytest.mark.parametrize(
    ("members", "together"),
    [
        ([0.2, 0.8], 0.5),
        ([0.9, 0.9, 0.9], 0.9),
        ([0.99, 0.5], 0.909),
        ([1.0, 0.0], 0.5),
        ([1e-9, 0.95, 0.95], 0.491),
        ([1e-9, 1e-9], 0.0025),
    ],
)
def test_members_vote_by_their_odds_and_none_of_them_drowns_the_others(members: list[float], together: float) -> None:
    assert pool_ensemble(np.array(members)) == pytest.approx(together, abs=1e-3)


def test_an_ensemble_joins_its_members_and_says_where_they_differ(tmp_path: Path) -> None:
    spine = a_bent_spine()
    folder = a_weights_folder(tmp_path)
    seen: list[float] = []

    class Progress:
        def __call__(self, fraction: float) -> None:
            seen.append(fraction)

    sequence = an_ensemble(folder).score_positions(spine, Progress())  # type: ignore[arg-type]

    assert isinstance(sequence, FractureSequence)
    members = np.stack([sequence.member_probability["straight"], sequence.member_probability["sagittal"]])
    assert np.allclose(sequence.probability, pool_ensemble(members))
    assert np.allclose(sequence.uncertainty, np.abs(members[0] - members[1]) / 2.0)
    assert sequence.positions_mm.shape == sequence.inside_fraction.shape == sequence.probability.shape
    assert np.isnan(sequence.scan_probability)
    assert 0.0 <= an_ensemble(folder).score_scan(sequence, []).scan_probability <= 1.0
    assert seen == [0.5, 1.0]


def test_only_judged_vertebrae_decide_the_scan(tmp_path: Path) -> None:
    folder = a_weights_folder(tmp_path)
    ensemble = an_ensemble(folder, "straight")
    sequence = ensemble.score_positions(a_bent_spine())
    suspicious = sequence.member_logits["straight"].copy()
    suspicious[3] = 7.0
    sequence = replace(sequence, member_logits={"straight": suspicious})
    at = sequence.positions_mm

    with_it = ensemble.score_scan(sequence, [(at[2], at[5])])
    without_it = ensemble.score_scan(sequence, [(at[5], at[9])])

    assert with_it.scan_probability > without_it.scan_probability + 0.1
    everywhere = ensemble.score_scan(sequence, [(at[0], at[-1])])
    assert ensemble.score_scan(sequence, [(900.0, 950.0)]).scan_probability == everywhere.scan_probability


def test_the_answer_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    spine = a_bent_spine()
    folder = a_weights_folder(tmp_path)
    before = torch.get_num_threads()

    try:
        answers = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            answers.append(an_ensemble(folder).score_positions(spine).probability)
    finally:
        torch.set_num_threads(before)

    assert np.abs(answers[0] - answers[1]).max() < 1e-3


def test_a_single_member_can_be_asked_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    spine = a_bent_spine()
    folder = a_weights_folder(tmp_path)

    alone = an_ensemble(folder, "sagittal").score_positions(spine)

    assert list(alone.member_probability) == ["sagittal"]
    with pytest.raises(OptionRefused, match="'nothing'; use all, single, or some of sagittal, straight"):
        an_ensemble(folder, "nothing")


def test_a_spine_outside_the_field_of_view_is_not_called_normal(tmp_path: Path) -> None:
    spine = a_bent_spine()
    outside = replace(spine, inside=np.zeros_like(spine.inside))

    with pytest.raises(NotEvaluable):
        an_ensemble(a_weights_folder(tmp_path)).score_positions(outside)


def test_calibration_moves_a_logit_along_a_line() -> None:
    logits = np.array([-2.0, 0.0, 2.0])

    assert np.allclose(calibrate_logits(logits, (1.0, 0.0)), 1.0 / (1.0 + np.exp(-logits)))
    assert np.allclose(calibrate_logits(logits, (0.5, -1.0))[1], 1.0 / (1.0 + np.e))


def test_importing_the_step_does_not_import_torch() -> None:
    code = "import sys, VertebralFractureLib.fracture; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_the_shipped_ensemble_answers_alike_on_any_processor(a_phantom) -> None:  # type: ignore[no-untyped-def]
    """One thread or two, with the processor's own kernels (bfloat16 among them) or without."""
    spine = straighten(a_phantom.ct, a_phantom.reference.centerline)
    before, ensemble = torch.get_num_threads(), Models.load().fractures

    try:
        answers = []
        for threads, own_kernels in ((1, True), (2, True), (1, False)):
            torch.set_num_threads(threads)
            with torch.backends.mkldnn.flags(enabled=own_kernels):
                answers.append(ensemble.score_scan(ensemble.score_positions(spine), []))
    finally:
        torch.set_num_threads(before)

    for other in answers[1:]:
        assert np.abs(answers[0].probability - other.probability).max() < 1e-3
        assert abs(answers[0].scan_probability - other.scan_probability) < 1e-3


def test_the_ensemble_is_small() -> None:
    sizes = [path.stat().st_size for path in weights_folder().glob("*-fracture-*.safetensors")]

    assert sum(sizes) <= 25e6
    assert len(sizes) == len(Models.load().members)
